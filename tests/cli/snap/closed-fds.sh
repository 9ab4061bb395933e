# A closed stdin, stdout or stderr never becomes the number of a file that is opened later.
mkfifo pass
"$SNAP" keygen -o key --passphrase-file pass <&- >&- 2>&- &
pid=$!
exec 3>pass # both ends are open now: the program waits for the passphrase
for fd in 0 1 2; do
    readlink /proc/$pid/fd/$fd
done
echo sesame >&3
wait $pid
echo "=> $?"
ls
