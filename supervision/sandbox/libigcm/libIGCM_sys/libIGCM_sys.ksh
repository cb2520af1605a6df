# What differs from centre to centre. libIGCM_sys_sandbox.ksh, beside this file, is written when a
# centre is made; ksh ends a script whose site file is missing, bash goes on without it.

. "${libIGCM}/libIGCM_sys/libIGCM_sys_sandbox.ksh"

function IGCM_sys_Mkdir {
  # Nothing is made while only checking.
  if [ "${TaskType}" != checking ] ; then
    mkdir -p "$1"
  fi
}

function IGCM_sys_Qsub {
  # IGCM_sys_Qsub FILE: hand a job to the scheduler; prints its id.
  "${SUBMIT}" "$1"
}
