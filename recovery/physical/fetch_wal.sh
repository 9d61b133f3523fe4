#!/bin/sh
# restore_command of a point-in-time restore: fetch_wal.sh ARCHIVE FROZEN END SIZE NAME DESTINATION
#
# PostgreSQL takes any status from 1 to 125 for the end of the log and opens the server with what
# it has, so 1 is only for what lies behind the end that was planned for. Everything before it has
# to be there: anything else ends with 200, which makes PostgreSQL give up.
archive=$1 frozen=$2 end=$3 size=$4 name=$5 destination=$6

give() {
    cp -- "$1" "$destination" || exit 200
    if [ "$2" -gt 0 ] && [ "$(wc -c <"$destination")" -ne "$2" ]; then
        echo "$name: not $2 bytes" >&2
        exit 200
    fi
    exit 0
}

if ! [ -r "$archive/../archive.json" ] || ! [ -x "$archive" ]; then
    echo "$archive is gone or cannot be read" >&2
    exit 200
fi
case $name in
*.history)
    [ -e "$archive/$name" ] && give "$archive/$name" 0
    exit 1
    ;;
esac
position=${name#????????}
if [ "$position" = "$end" ] || [ "$position" \> "$end" ]; then
    exit 1
fi
[ -e "$frozen/$name" ] && give "$frozen/$name" "$size"
[ -e "$archive/$name" ] && give "$archive/$name" "$size"
echo "$name is missing in $archive" >&2
exit 200
