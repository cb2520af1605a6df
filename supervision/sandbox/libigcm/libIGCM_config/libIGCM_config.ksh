# The configuration that every job and tool of a simulation shares.

function IGCM_config_CommonConfiguration {
  # IGCM_config_CommonConfiguration CONFIG_CARD (absolute): set config_UserChoices_* and the places
  # of output. Like its model it returns 0 with empty values where the card is missing: whoever
  # calls it must look at config_UserChoices_JobName and R_BUF_KSH.
  typeset option
  for option in JobName LongName TagName SpaceName ExperimentName CalendarType DateBegin DateEnd PeriodLength PeriodNb ; do
    IGCM_card_DefineVariableFromOption "$1" UserChoices "${option}"
  done
  R_BUF_KSH=
  if [ -n "${config_UserChoices_JobName}" ] && [ -n "${SBX_SCRATCH}" ] ; then
    R_BUF_KSH="${SBX_SCRATCH}/IGCM_OUT/${config_UserChoices_TagName}/${config_UserChoices_SpaceName}"
    R_BUF_KSH="${R_BUF_KSH}/${config_UserChoices_ExperimentName}/${config_UserChoices_JobName}"
  fi
  # Archive and buffer are one place here; clean finds the files of a period below all of these.
  R_SAVE=${R_BUF_KSH}
  R_BUFR=${R_BUF_KSH}
  REBUILD_DIR=${R_BUF_KSH:+${R_BUF_KSH}/REBUILD}
  return 0
}
