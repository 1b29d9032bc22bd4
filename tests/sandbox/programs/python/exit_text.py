import sys
sys.exit("goodbye é")
