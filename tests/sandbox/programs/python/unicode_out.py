print("é ✓ 🐍 \u2028 \x00 \x1b[0m")
import sys
sys.stderr.write("\udc80\n")
