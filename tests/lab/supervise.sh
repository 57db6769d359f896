#!/bin/sh
# Runs one server for as long as whoever started this script holds the other end of its standard input.
#
#   supervise.sh LOG DATA[:DATA...] COMMAND [ARGUMENT...]
#
# Prints the server's process id. Each line read names a signal to send to the server (TERM, KILL, STOP, CONT, HUP); the line `keep` means
# that the DATA paths outlive this server. At end of file the server is killed if it still runs, and the DATA paths are removed unless they
# are to be kept. So a test that is killed leaves neither a server nor its data behind. Exits with the server's status.
#
# The server's status is collected at the very end and nowhere else: until then its process id cannot come to mean another process.
log=$1 data=$2 keep=no
shift 2
trap : INT TERM HUP

"$@" </dev/null >>"$log" 2>&1 &
server=$!
echo "$server"
exec >/dev/null

while read -r line; do
  case $line in
    keep) keep=yes ;;
    *) kill -s "$line" "$server" ;;
  esac
done
kill -s KILL "$server" 2>/dev/null
wait "$server"
status=$?

if [ "$keep" = no ]; then
  set -f
  IFS=:
  for path in $data; do rm -rf -- "$path"; done
fi
exit "$status"
