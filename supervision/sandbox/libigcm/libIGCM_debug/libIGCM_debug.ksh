# What happens is printed here. A miniature of our own with libIGCM's names: it runs under ksh
# and bash alike, and does no more than the sandbox needs.

ExitFlag=false

function IGCM_debug_Print {
  # IGCM_debug_Print LEVEL WORDS: say something; levels above Verbosity stay silent.
  if [ "$1" -le "${Verbosity:-3}" ] ; then
    shift
    printf '%s\n' "$*"
  fi
}

function IGCM_debug_Exit {
  # IGCM_debug_Exit WORDS: note that something went wrong; IGCM_debug_Verif_Exit ends the run.
  IGCM_debug_Print 1 "Error: $*"
  ExitFlag=true
}

function IGCM_debug_Verif_Exit {
  # Nothing ends while only checking: a person reads what was printed.
  if [ "${ExitFlag}" = true ] && [ "${TaskType}" != checking ] ; then
    exit 1
  fi
}
