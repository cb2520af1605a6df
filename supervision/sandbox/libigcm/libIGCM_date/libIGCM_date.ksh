# Dates of the model, which need not exist in anybody's calendar: so no `date` command here.

function IGCM_date_ConvertFormatToGregorian {
  # 1850-01-31 -> 18500131: the spelling in file names.
  printf '%s\n' "$1" | tr -d '-'
}

function IGCM_date_ConvertFormatToHuman {
  # 18500131 -> 1850-01-31: the spelling in cards.
  printf '%s\n' "$1" | sed 's/\(..\)\(..\)$/-\1-\2/'
}
