#!/usr/bin/env bash
# all_quiet.sh: the line that comes to my telephone at 06:00, wrong or right.
#
#     all quiet, 17 checked
#
# It is sent every morning because a dead program and a good day would
# otherwise look alike. What raises the alarm is the line that does not come,
# and the clock that misses it is on the mainland. It was in the Gauge House
# once, where it would have gone down with everything it was there to miss.
#
#     all_quiet.sh CHECKS_DIR [LIMIT_S]
#
# Each check is one executable file that does one thing: is the disk under
# nine tenths, is the newest reading of g1 under 15 minutes old, does last
# night's copy open. It ends with 0 if all is well. If not, its last line says
# what was tried, what was wanted, what came, and which screw to look at.
#
# From cron, which rings the bell in UTC and has no summer:
#     0 6 * * *  /opt/skerrow/all_quiet.sh /opt/skerrow/checks | send_to_wren

set -uo pipefail
export LC_ALL=C TZ=UTC

checks=${1:?all_quiet: wanted a folder of checks, got nothing}
limit_s=${2:-20}   # a check that hangs is a check that failed

if [[ ! -d $checks ]]; then
    echo "all_quiet: wanted a folder, got $checks, which is not one"
    exit 2
fi

checked=0
troubles=()

for check in "$checks"/*; do
    [[ -f $check && -x $check ]] || continue
    checked=$((checked + 1))
    said=$(timeout "$limit_s" "$check" 2>&1)
    rc=$?
    if (( rc == 0 )); then
        continue
    fi
    name=$(basename "$check")
    if (( rc == 124 )); then
        troubles+=("$name: no answer in $limit_s s")
    else
        last=$(tail -n 1 <<<"$said")
        troubles+=("$name: ${last:-said nothing, ended with $rc}")
    fi
done

# Nought checked and nought wrong is the calm face of an empty folder.
if (( checked == 0 )); then
    echo "NOT quiet, 0 checked: nothing to run in $checks"
    exit 2
fi

if (( ${#troubles[@]} == 0 )); then
    echo "all quiet, $checked checked"
    exit 0
fi

echo "NOT quiet, $checked checked, ${#troubles[@]} wrong"
printf '  %s\n' "${troubles[@]}"
exit 1
