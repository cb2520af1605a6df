function IGCM_card_DefineVariableFromOption
{
  typeset base name value
  base=${1##*/}
  name=${base%%.*}_${2}_${3}
  value=$( sed -n "s/^${3}= *//p" "$1" )
  [ -f "${STUB}/libigcm.stops" ] && exit 1
  eval ${name}='${value:-_0_}'
}
