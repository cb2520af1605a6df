function IGCM_date_ConvertFormatToGregorian { echo "${1}" | sed 's/-//g' ; }
function IGCM_date_DaysInPreviousPeriod { echo 365 ; }
function IGCM_date_AddDaysToGregorianDate { echo "${1}${2}" ; }
