echo "RANDOM = $RANDOM$RANDOM$RANDOM$RANDOM"
echo "SRANDOM = $SRANDOM$SRANDOM"
echo "mktemp = $(mktemp -u)"
echo "uuid = $(cat /proc/sys/kernel/random/uuid)"
