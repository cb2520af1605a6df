if [ -f "${STUB}/no.site.file" ] ; then
  . "${libIGCM}/libIGCM_sys/libIGCM_sys_nowhere.ksh"
  [ -n "${BASH_VERSION}" ] && exit 1
fi
function IGCM_sys_MkdirWork { mkdir -p "$1" ; }
function IGCM_sys_QsubPost
{
  env | grep -E '^(DateBegin|DateEnd|PeriodPack|StandAlone|Script_Post_Output|SUBMIT_DIR|TaskType)=' |
    LC_ALL=C sort > "${STUB}/post.environment"
  ${SUBMIT} "${libIGCM}/$1.job"
}
