#!/usr/bin/env ksh
# A compute job told that it failed. Look whether it may be restarted; then clean the failed
# period and submit the job again. It ends with a sentence and one line of JSON.
#
# Functions that a trap calls look unreachable to shellcheck.
# shellcheck disable=SC2317
set -u

# Every value below was quoted by the renderer; nothing further down carries one.
our_id='0f9c1d2e-1111-4222-8333-444455556666'
our_attempt='1'
our_prefix='0f9c1d2e'
our_simulation='a3b1f0de-0000-4000-8000-000000000001'
our_name='CTL-LMDZ.exp1'
our_login='anna'
our_directory='/home/anna/modipsl/config/LMDZ/CTL'
our_job='4711'
our_site_libigcm=''
our_pause='5'

our_work=''
our_child=''
our_exit=''
our_cleaned=0
our_submitted=no
our_period=null
our_new_json=null
our_deleted_json='[]'

say() {
  printf '%s\n' "$*"
}

# An external sleep: it ends with the group when somebody stops this script.
pause() {
  env sleep "$1"
}

# end CODE SENTENCE: the only way out that is meant.
end() {
  our_exit=$1
  # In one line: whatever a name holds, the last line before the JSON is the whole sentence.
  say "$(printf '%s' "$2" | tr '\n\r' '  ')"
  exit "$1"
}

did() {
  case "$our_cleaned/$our_submitted" in
    0/no) printf 'nothing' ;;
    1/no) printf 'cleaned' ;;
    0/*) printf '%s' "$our_submitted" ;;
    *) printf 'cleaned+%s' "$our_submitted" ;;
  esac
}

# stop_child: the program that runs beside us has ended when this returns, by force after 5 s;
# the agent has patience for 10.
stop_child() {
  kill "$our_child" 2>/dev/null
  our_patient=25
  while kill -0 "$our_child" 2>/dev/null; do
    ((our_patient = our_patient - 1))
    if [ "$our_patient" -eq 0 ]; then kill -KILL "$our_child" 2>/dev/null; fi
    pause 0.2
  done
}

# The last line of output, on every ending: a shell that was sent away by libIGCM included, and
# once it has begun to end, nobody hurries it. What it began has ended by then, and deletes nothing.
finish() {
  trap - EXIT
  trap '' TERM HUP INT
  if [ -n "$our_child" ]; then stop_child; fi
  if [ -n "$our_work" ]; then rm -rf -- "$our_work"; fi
  if [ -z "$our_exit" ]; then
    our_exit=66
    say 'failed: the script ended where nobody expected it'
  fi
  printf '{"did": "%s", "period": %s, "scheduler_id": %s, "deleted": %s, "exit": %s}\n' \
    "$(did)" "$our_period" "$our_new_json" "$our_deleted_json" "$our_exit"
  exit "$our_exit"
}

trap finish EXIT
trap 'end 124 "failed: stopped from outside, as at the end of its time"' TERM
trap 'end 66 "failed: interrupted from outside"' HUP INT

# json_list: lines of input as a JSON array of at most 100 strings, in plain ASCII.
json_list() {
  LC_ALL=C awk '
    NR <= 100 {
      gsub(/[^ -~]/, "?"); gsub(/\\/, "\\\\"); gsub(/"/, "\\\"")
      printf "%s\"%s\"", (NR == 1 ? "[" : ", "), $0
    }
    END {
      if (NR > 100) printf ", \"and %d more\"", NR - 100
      print (NR ? "]" : "[]")
    }'
}

json_text() {
  printf '%s\n' "$1" | json_list | sed -e '1s/^\[//' -e '$s/\]$//'
}

# show WORD FILE: the end of a file, each line with the word before it.
show() {
  tail -n 100 "$2" | awk -v word="$1" '{ print word ": " $0 }'
}

say "supervision $our_id, attempt $our_attempt: job $our_name of $our_login in $our_directory"

if ! cd -- "$our_directory" 2>/dev/null; then
  end 65 "failed: the submission directory cannot be entered: $our_directory"
fi
our_here=$(pwd -P)
if [ ! -f "./Job_$our_name" ]; then
  end 65 "failed: there is no Job_$our_name in $our_here"
fi

# 1. Writable? At full quota libIGCM leaves an empty run.card, so 64 KB go there and back first.
writable() {
  our_probe="$1/.supervision.$our_prefix.$our_attempt.$$"
  pattern | dd of="$our_probe" obs=65536 conv=fsync 2>/dev/null && pattern | cmp -s - "$our_probe"
  our_status=$?
  rm -f -- "$our_probe"
  return "$our_status"
}

pattern() {
  awk 'BEGIN { for (i = 0; i < 1024; i++) printf "%063d\n", i }'
}

if ! writable "$our_here"; then
  end 40 "not yet: 64 KB cannot be written to $our_here and read back"
fi
our_work=$(mktemp -d "${TMPDIR:-/tmp}/supervision.XXXXXX") || our_work=''
if [ -z "$our_work" ]; then
  end 40 'not yet: no temporary directory can be made'
fi

# 2. libIGCM: where Job_<name> says, else at its usual place, else where the site has one.
modipsl_of_job() {
  sed -n 's/^[[:space:]]*MODIPSL=//p' "./Job_$our_name" | head -n 1 |
    sed -e 's/[[:space:]]*$//' -e "s/^'\(.*\)'\$/\1/" -e 's/^"\(.*\)"$/\1/'
}

find_libigcm() {
  our_modipsl=$(modipsl_of_job)
  for our_place in "${our_modipsl:+$our_modipsl/libIGCM}" "$our_here/../../../libIGCM" "$our_site_libigcm"; do
    case $our_place in /*) ;; *) continue ;; esac
    if [ -r "$our_place/libIGCM_config/libIGCM_config.ksh" ]; then
      our_libigcm=$(cd -- "$our_place" && pwd)
      return 0
    fi
  done
  return 1
}

# Runs in a child of its own: ksh ends the whole script when a site file is missing, and the
# names, traps and exports of libIGCM must reach neither this script nor the job it submits.
source_libigcm() {
  set +u
  trap - EXIT TERM HUP INT
  libIGCM=$our_libigcm
  TaskType=checking
  SUBMIT_DIR=$our_here
  DEBUG_debug=false
  BigBrother=false
  export libIGCM TaskType SUBMIT_DIR DEBUG_debug BigBrother
  for our_part in debug card date sys config; do
    # shellcheck source=/dev/null
    . "$libIGCM/libIGCM_$our_part/libIGCM_$our_part.ksh"
  done
  IGCM_config_CommonConfiguration "$our_here/config.card"
}

# await: the end of the child just begun, and its code.
await() {
  our_child=$!
  wait "$our_child"
  our_status=$?
  our_child=''
  return "$our_status"
}

tell() {
  printf '%s=%s\n' "$1" "$(printf '%s' "$2" | tr '\n' ' ')" >>"$our_work/values"
}

ask_libigcm() {
  source_libigcm
  # shellcheck disable=SC2154
  tell JobName "$config_UserChoices_JobName"
  tell R_BUF_KSH "$R_BUF_KSH"
  tell R_BUFR "${R_BUFR:-$R_BUF_KSH}"
  tell R_SAVE "$R_SAVE"
  tell REBUILD_DIR "$REBUILD_DIR"
  if card_is_sound; then
    for our_option in PeriodState CumulPeriod simuid PeriodDateBegin PeriodDateEnd; do
      IGCM_card_DefineVariableFromOption "$our_here/run.card" Configuration "$our_option"
      eval "our_value=\${run_Configuration_$our_option}"
      # shellcheck disable=SC2154
      tell "$our_option" "$our_value"
    done
  fi
  tell whole yes
}

# value NAME: what libIGCM told; its word for "there is none" is _0_.
value() {
  sed -n -e "s/^$1=_0_\$//" -e "s/^$1=//p" "$our_work/values" | head -n 1
}

card_is_sound() {
  [ -s run.card ] && grep -q '^[[:space:]]*\[Configuration\]' run.card
}

# is_ours SIMUID: messages spell it in small letters, whatever run.card does.
is_ours() {
  [ "$(printf '%s' "$1" | tr '[:upper:]' '[:lower:]')" = \
    "$(printf '%s' "$our_simulation" | tr '[:upper:]' '[:lower:]')" ]
}

# nearest DIRECTORY: itself, or the nearest one above it that is there already.
nearest() {
  our_place=$1
  while [ ! -e "$our_place" ] && [ "$our_place" != / ]; do
    our_place=$(dirname -- "$our_place")
  done
  printf '%s\n' "$our_place"
}

if ! find_libigcm; then
  end 60 "failed: no libIGCM where Job_$our_name or its place in the tree says"
fi
: >"$our_work/values"
ask_libigcm >"$our_work/libigcm.out" 2>&1 </dev/null &
await
if [ -z "$(value JobName)" ] || [ -z "$(value R_BUF_KSH)" ]; then
  show libIGCM "$our_work/libigcm.out"
  end 61 "failed: libIGCM in $our_libigcm told neither JobName nor R_BUF from config.card"
fi
if [ "$(value JobName)" != "$our_name" ]; then
  end 10 "declined: config.card here is that of $(value JobName), not of $our_name"
fi
our_buffer=$(nearest "$(value R_BUF_KSH)")
if [ "$our_buffer" = / ]; then
  end 61 "failed: nothing of R_BUF exists ($(value R_BUF_KSH)), as where the login's environment is missing"
fi
if ! writable "$our_buffer"; then
  end 40 "not yet: 64 KB cannot be written to R_BUF and read back: $our_buffer"
fi

# 3. Whose run.card is it?
if ! card_is_sound; then
  end 62 'failed: run.card is missing or damaged, as after a full quota'
fi
if [ -z "$(value whole)" ]; then
  show libIGCM "$our_work/libigcm.out"
  end 61 'failed: libIGCM ended while it read run.card'
fi
if ! is_ours "$(value simuid)"; then
  end 10 "declined: run.card here belongs to simulation $(value simuid), not to $our_simulation"
fi

# The scheduler. `queue_read` writes one line for each job that is queued, running, held, or in a
# state that we do not know: its id; here, maybe, elsewhere or else; its directory.
# ask COMMAND...: give it a minute, where that can be given.
ask() {
  if timeout --foreground 1 true 2>/dev/null; then
    LC_ALL=C timeout --foreground 60 "$@"
  else
    LC_ALL=C "$@"
  fi
}

our_stop='scancel'

# All states are asked for, and only those that are ends are left out: a state that a newer Slurm
# adds counts as present. The name comes last but one and is compared from its left, because it
# may hold the separator.
queue_read() {
  ask squeue -h --user="$our_login" --states=all -o '%i|%T|%j|%Z' \
    >"$our_work/raw" 2>"$our_work/raw.err" || return 1
  our_name=$our_name our_directory=$our_directory our_here=$our_here awk -F '|' '
    BEGIN {
      split("BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY TIMEOUT", ends, " ")
      for (i in ends) ended[ends[i]] = 1
      name = ENVIRON["our_name"] "|"
    }
    function cut(name) { return 0 }
    function emit(id, name, dir) {
      if (name != ENVIRON["our_name"] && !cut(name)) print id, "else"
      else if (dir == "") print id, "maybe"
      else if (dir == ENVIRON["our_directory"] || dir == ENVIRON["our_here"]) print id, "here"
      else print id, "elsewhere", dir
    }
    NF < 4 || $1 == "" { odd = 1; next }
    ended[$2] { next }
    {
      rest = substr($0, length($1) + length($2) + 3)
      if (substr(rest, 1, length(name)) == name)
        emit($1, ENVIRON["our_name"], substr(rest, length(name) + 1))
      else
        print $1, "else"
    }
    END { exit odd }' "$our_work/raw" >"$our_work/queue"
}

# Slurm reads % in the name of an output file as a pattern.
queue_submit() {
  our_pattern=$(printf '%s' "$1" | sed 's/%/%%/g')
  sbatch --parsable -o "$our_pattern" -e "$our_pattern" "$2"
}

# scancel says nothing and ends with 0 for an id that it does not know.
queue_cancel() {
  scancel "$1"
}

# The bare id of --parsable, a cluster behind it; and the sentence that libIGCM gets without it.
ids_in() {
  sed -n -e 's/^\([0-9][0-9]*\)\(;.*\)\{0,1\}$/\1/p' \
    -e 's/^Submitted batch job \([0-9][0-9]*\).*$/\1/p' "$1"
}

# id_key ID: an id has one spelling here.
id_key() {
  printf '%s' "$1"
}

# look: read the queue, three times at most. Silence is never read as an empty queue.
look() {
  for our_try in 1 2 3; do
    if queue_read; then return 0; fi
    if [ "$our_try" -lt 3 ]; then pause "$our_pause"; fi
  done
  return 1
}

look_or_end() {
  if ! look; then
    if [ -f "$our_work/raw.err" ]; then show scheduler "$our_work/raw.err"; fi
    end 44 'not yet: the scheduler does not answer'
  fi
}

# same ID ID: whether two spellings are one job.
same() {
  [ -n "$1" ] && [ -n "$2" ] && [ "$(id_key "$1")" = "$(id_key "$2")" ]
}

# there ID: whether this job is among those that were read.
there() {
  while read -r our_line; do
    if same "${our_line%% *}" "$1"; then return 0; fi
  done <"$our_work/queue"
  return 1
}

# others [ID]: jobs that are, or may be, a copy of this chain, but for the failed job and ID.
others() {
  while read -r our_seen our_kind our_where; do
    case $our_kind in
      else) continue ;;
      elsewhere)
        our_real=$(cd -- "$our_where" 2>/dev/null && pwd -P)
        if [ "$our_real" != "$our_here" ]; then continue; fi
        ;;
    esac
    if same "$our_seen" "$our_job" || same "$our_seen" "${1-}"; then continue; fi
    printf '%s ' "$our_seen"
  done <"$our_work/queue"
}

# gone: whether the failed job has left; without its id every job of the name may be it.
gone() {
  if [ -n "$our_job" ]; then
    ! there "$our_job"
  else
    [ -z "$(others)" ]
  fi
}

wait_until_gone() {
  our_waited=0
  while ! gone && [ "$our_waited" -lt 60 ]; do
    if [ -n "$our_job" ] && [ -n "$(others)" ]; then return 1; fi
    pause "$our_pause"
    ((our_waited = our_waited + our_pause))
    look_or_end
  done
}

# snapshot: run.card's identity and progress in one line, read without libIGCM.
snapshot() {
  tr -d ' \t\r' <run.card | grep -E '^(simuid|CumulPeriod|PeriodState)=' | sort | tr '\n' ' '
}

# still: nobody has moved the simulation since run.card was read. A job that leaves the queue
# may write its Fatal late: that is no move.
still() {
  our_after=$(snapshot)
  [ "$our_after" = "$our_before" ] && return 0
  [ "$(printf '%s' "$our_after" | sed 's/PeriodState=[^ ]*Fatal[^ ]* //')" = \
    "$(printf '%s' "$our_before" | sed 's/PeriodState=Running //')" ]
}

our_interpreter='ksh'

# in fifths of a second
our_patience=6000

# converse FILE: run a program of libIGCM that asks questions, and answer each by its text; fd 3
# holds its input open, for the end of input means no to it. 0: it ended, its code is our_code;
# 1: it asked what nobody knows; 2: it was silent for 20 minutes.
converse() {
  our_out=$our_work/said
  : >"$our_out"
  rm -f -- "$our_work/answers"
  mkfifo "$our_work/answers"
  exec 3<> "$our_work/answers"
  libIGCM=$our_libigcm "$our_interpreter" "$1" <"$our_work/answers" >"$our_out" 2>&1 3>&- &
  our_child=$!
  our_answered=0
  our_size=0
  our_still=0
  our_result=0
  while [ "$our_result" -eq 0 ] && kill -0 "$our_child" 2>/dev/null; do
    pause 0.2
    listen
  done
  if [ "$our_result" -ne 0 ]; then stop_child; fi
  exec 3>&-
  wait "$our_child"
  our_code=$?
  our_child=''
  return "$our_result"
}

# listen: a text that stays as it is may be a question. A line that is not ended, or that shows
# its (y/n), is soon taken for one; an ended line with a mere question mark only after 2 s, lest
# an answer be spent on a line whose prompt is still to come.
listen() {
  our_now=$(wc -c <"$our_out")
  if [ "$our_now" -ne "$our_size" ]; then
    our_size=$our_now
    our_still=0
    return 0
  fi
  ((our_still = our_still + 1))
  if [ "$our_still" -ge "$our_patience" ]; then our_result=2; fi
  if [ "$our_size" -eq "$our_answered" ]; then return 0; fi
  case $our_still in
    2) if waits_in_line || asked | grep -q '[(\[][yo]/n[])]'; then answer "$(asked)"; fi ;;
    10) answer "$(asked)" ;;
    # it looks like no question, but a line has waited to be ended for half a minute
    150) if waits_in_line; then our_result=1; fi ;;
  esac
}

waits_in_line() {
  [ "$(tail -c 1 "$our_out" | wc -l)" -eq 0 ]
}

# asked: the question that stands at the end of what was said since the last answer, in small
# letters; a bare "Your answer (y/n)" belongs to the line above it. Nothing when there is none.
asked() {
  tail -c "+$((our_answered + 1))" "$our_out" | LC_ALL=C awk '
    { gsub(/\033\[[0-9;]*m/, ""); gsub(/\r/, "") }
    /[^ \t]/ { above = line; line = $0 }
    END {
      if (line !~ /[(\[][yYoO]\/[nN][)\]]/ && line !~ /\? *:? *$/) exit
      if (line !~ /\?/ && tolower(line) ~ /answer/) line = above " " line
      print tolower(line)
    }'
}

answer() {
  if [ -z "$1" ]; then return 0; fi
  our_reply=$(reply_to "$1")
  say "asked: $1"
  say "answered: ${our_reply:-nothing, for this question is not known}"
  if [ -z "$our_reply" ]; then
    our_result=1
    return 0
  fi
  our_answered=$our_size
  our_still=0
  printf '%s\n' "$our_reply" >&3
}

# reply_to QUESTION: run.card must outlive the cleaning, for it is the simulation's identity.
# Deleting it is looked for first: the question about the state names run.card as well.
reply_to() {
  case $1 in
    *erase*run.card* | *delete*run.card* | *remove*run.card*) printf 'n' ;;
    *run.card*erase* | *run.card*delete* | *run.card*remove*) printf 'n' ;;
    *onqueue*) printf 'y' ;;
    *erase*director* | *delete*director* | *remove*director*) printf 'y' ;;
    *director*erase* | *director*delete* | *director*remove*) printf 'y' ;;
    *erase*files* | *delete*files* | *remove*files*) printf 'y' ;;
    *files*erase* | *files*delete* | *files*remove*) printf 'y' ;;
  esac
}

find_clean() {
  for our_clean in clean_PeriodLenght.job clean_month.job; do
    if [ -r "$our_libigcm/$our_clean" ]; then return 0; fi
  done
  return 1
}

# listed DIRECTORY DATE [TEST...]: sizes in KiB of what carries the date in its name.
listed() {
  our_place=$1
  our_date=$(printf '%s' "$2" | tr -d '-')
  shift 2
  case $our_date in '' | *[!0-9]* | ? | ?? | ??? | ????) return 0 ;; esac
  if [ -d "$our_place" ]; then
    find "$our_place" -name "*$our_date*" "$@" -exec du -sk {} + 2>/dev/null
  fi
}

# What clean is about to find, by libIGCM's own rule: the archive and the buffer by the end of
# the period, the rebuild directories by its beginning.
list_deletable() {
  {
    listed "$(value R_SAVE)" "$(value PeriodDateEnd)" ! -type d
    listed "$(value R_BUFR)" "$(value PeriodDateEnd)" ! -type d
    listed "$(value REBUILD_DIR)" "$(value PeriodDateBegin)" -type d -prune
  } | sort -u -k 2 | awk '{ size = $1; sub(/^[0-9]+[ \t]+/, ""); print $0 " (" size " KiB)" }'
}

clean() {
  list_deletable >"$our_work/deletable"
  show 'to be deleted' "$our_work/deletable"
  if [ ! -s "$our_work/deletable" ]; then say 'note: nothing to be deleted can be seen from here'; fi
  our_deleted_json=$(json_list <"$our_work/deletable")
  our_cleaned=1
  converse "$our_libigcm/$our_clean"
  our_talk=$?
  show clean "$our_out"
  case $our_talk in
    1) end 63 "failed: $our_clean asked a question that is not known" ;;
    2) end 64 "failed: $our_clean was silent for too long and was ended" ;;
  esac
  if [ "$our_code" -ne 0 ]; then
    end 64 "failed: $our_clean ended with $our_code"
  fi
}

# The card may say Running afterwards: some versions of clean leave it. Fatal stops the next job.
cleaned_well() {
  card_is_sound || return 1
  our_after=$(snapshot)
  case $our_after in *PeriodState=*Fatal*) return 1 ;; esac
  is_ours "$(printf '%s' "$our_after" | sed -n 's/.*simuid=\([^ ]*\).*/\1/p')"
}

# 4. What the simulation is doing, by run.card; a state and more text behind Fatal means that
# post-processing stopped the chain.
our_before=$(snapshot)
our_state=$(value PeriodState)
our_number=$(value CumulPeriod | sed 's/^0*\([0-9]\)/\1/')
case $our_number in
  '' | *[!0-9]*) end 62 'failed: run.card does not tell its period, as after a full quota' ;;
esac
our_period=$our_number
say "run.card: period $our_number, state $our_state"
if [ "$our_state" = Completed ]; then
  end 11 'declined: run.card says that the simulation is complete'
fi
our_post_failures='0'
case $our_state in
  Fatal) ;;
  *Fatal*)
    if [ "$our_post_failures" = 1 ]; then
      end 12 "declined: post-processing stopped the chain ($our_state) and its failure is open"
    fi
    ;;
esac
look_or_end
our_submit_only=0
if [ "$our_state" = OnQueue ]; then
  if [ -n "$(others)" ]; then
    end 13 "declined: the next job is in the queue already: $(others)"
  fi
  our_submit_only=1
  say 'run.card says OnQueue and no job is there: nothing is cleaned'
elif ! find_clean; then
  end 60 "failed: libIGCM in $our_libigcm has no clean_PeriodLenght.job and no clean_month.job"
fi

# 5. A period that an earlier restart ran into again is for a person to judge.
our_restarted='2'
if [ -n "$our_restarted" ] && [ "$our_number" -eq "$our_restarted" ]; then
  end 14 "declined: period $our_number was restarted before, under an earlier job"
fi

# 6. Nobody else, and the failed job has left.
wait_until_gone
our_others=$(others)
if [ -n "$our_others" ]; then
  end 15 "declined: a job of this name is, or may be, in the queue here: $our_others"
fi
if ! gone; then
  end 41 "not yet: the failed job $our_job is still in the queue after 60 s"
fi
if ! still; then
  end 17 'declined: run.card changed while this script looked; the simulation goes on by itself'
fi

our_copy="run.card.supervision.$our_prefix.$our_attempt"
if [ ! -e "$our_copy" ]; then
  if ! cp -p run.card "$our_copy" || ! cmp -s run.card "$our_copy"; then
    end 40 'not yet: run.card cannot be copied aside'
  fi
fi
say "run.card was copied to $our_copy"

if [ "$our_submit_only" = 0 ]; then
  clean
  if ! cleaned_well; then
    end 64 "failed: $our_clean left a run.card that the job cannot start from"
  fi
fi

# Submitted as libIGCM does it itself: a log of its own for each period, or the new job would
# write over the first one's.
our_output="Script_Output_$our_name.$(printf '%06d' "$our_number")"
our_old_output="$our_output.supervision.$our_prefix.$our_attempt"

# The job that failed may have begun with this period: its log tells why, and would be lost.
if [ -f "$our_output" ] && mv -f -- "$our_output" "$our_old_output"; then
  say "the log of the failed job is now $our_old_output"
fi

# succeeded: ours has run and left, so the other one is the next job of its own chain. A job may be
# shorter than a scheduler is slow. Only then has run.card moved; ours leaves soon after.
succeeded() {
  our_waited=0
  while [ "$(snapshot)" != "$our_ready" ]; do
    if ! there "$our_new"; then return 0; fi
    if [ "$our_waited" -ge 60 ]; then return 1; fi
    pause "$our_pause"
    ((our_waited = our_waited + our_pause))
    if ! look; then return 1; fi
  done
  return 1
}

our_ready=$(snapshot)
if ! queue_submit "$our_output" "Job_$our_name" >"$our_work/submitted" 2>&1; then
  show scheduler "$our_work/submitted"
  # the scheduler may have taken the job and lost its answer
  if ! look || [ -z "$(others)" ]; then
    if [ -f "$our_old_output" ]; then mv -f -- "$our_old_output" "$our_output"; fi
    end 42 'not yet: the scheduler refused the job'
  fi
  our_new=$(others | sed 's/ .*//')
  say "the scheduler answered with an error, and yet a job is there: $our_new"
else
  our_new=$(ids_in "$our_work/submitted" | head -n 1)
fi
our_submitted=submitted
if [ -n "$our_new" ]; then
  our_new_json=$(json_text "$our_new")
fi
say "submitted: Job_$our_name as ${our_new:-a job whose id was not told}, output $our_output"

if ! look; then
  end 0 'acted: the job was submitted; the scheduler then fell silent, so nobody looked again'
fi
our_others=$(others "$our_new")
if [ -z "$our_new" ] && [ "$(printf '%s' "$our_others" | wc -w)" -le 1 ]; then
  our_new=${our_others%% *}
  our_others=''
  if [ -n "$our_new" ]; then our_new_json=$(json_text "$our_new"); fi
fi
if [ -n "$our_others" ]; then
  if [ -z "$our_new" ]; then
    end 66 "failed: more than one job is there and none is known as ours: $our_others"
  fi
  if succeeded; then
    end 0 "acted: period $our_number has run already, and the next job is there: $our_others"
  fi
  if ! queue_cancel "$our_new"; then
    end 66 "failed: another job is there ($our_others) and ours cannot be cancelled: $our_new"
  fi
  our_submitted=submitted+cancelled
  end 16 "declined: another job appeared ($our_others), so ours was cancelled: $our_new"
fi
say "to stop it: $our_stop ${our_new:-ID}"
end 0 "acted: period $our_number was given back to the queue"
