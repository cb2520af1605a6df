function IGCM_config_CommonConfiguration
{
  echo "IGCM_config_CommonConfiguration $1 ${TaskType}"
  [ -f "$1" ] || return 0
  config_UserChoices_JobName=$( sed -n 's/^JobName= *//p' "$1" )
  config_UserChoices_DateBegin=$( sed -n 's/^DateBegin= *//p' "$1" )
  config_Post_PackFrequency=1Y
  R_BUFR=$( sed -n 's/^Buffer= *//p' "$1" )
  R_BUF_KSH=${R_BUFR:+${R_BUFR}/Out}
  R_SAVE=$( sed -n 's/^Archive= *//p' "$1" )
  REBUILD_DIR=${R_BUFR}/REBUILD
}
