# Reading and writing cards: sections of "Key= value" lines. awk does the parsing, and a value
# reaches the shell through one assignment, so that no value is ever read as a command.

function IGCM_card_ReadOption {
  # IGCM_card_ReadOption FILE SECTION OPTION: print the value without its quotes; empty if absent.
  [ -f "$1" ] || return 0
  SECTION="[$2]" OPTION="$3" awk '
    { line = $0 ; sub(/^[ \t]+/, "", line) ; sub(/[ \t\r]+$/, "", line) }
    line ~ /^\[/ { inside = (line == ENVIRON["SECTION"]) ; next }
    inside && line !~ /^#/ && index(line, "=") {
      key = substr(line, 1, index(line, "=") - 1)
      sub(/[ \t]+$/, "", key)
      if (key == ENVIRON["OPTION"]) {
        value = substr(line, index(line, "=") + 1)
        sub(/^[ \t]+/, "", value) ; gsub(/^"|"$/, "", value)
        found = value
      }
    }
    END { print found }' "$1"
}

function IGCM_card_DefineVariableFromOption {
  # IGCM_card_DefineVariableFromOption FILE SECTION OPTION: set <card>_<SECTION>_<OPTION>, where
  # <card> is the file's name without .card: run_Configuration_PeriodState.
  typeset card name value
  card=${1##*/}
  name="${card%.card}_$2_$3"
  name=$( printf '%s' "${name}" | tr -c 'A-Za-z0-9_' '_' )
  value=$( IGCM_card_ReadOption "$1" "$2" "$3" )
  IGCM_card_value=${value}
  eval "${name}=\${IGCM_card_value}"
}

function IGCM_card_WriteOption {
  # IGCM_card_WriteOption FILE SECTION OPTION VALUE: change one option, through a temporary file
  # and mv; 1 when the option is not there, and then the file is as it was.
  typeset draft
  draft="$1.tmp.$$"
  SECTION="[$2]" OPTION="$3" VALUE="$4" awk '
    /^[ \t]*\[/ { line = $0 ; gsub(/[ \t\r]/, "", line) ; inside = (line == ENVIRON["SECTION"]) }
    {
      key = $0 ; sub(/=.*/, "", key) ; gsub(/[ \t]/, "", key)
      if (inside && index($0, "=") && key == ENVIRON["OPTION"]) {
        print key "= " ENVIRON["VALUE"] ; written = 1 ; next
      }
      print
    }
    END { exit written ? 0 : 1 }' "$1" > "${draft}" || { rm -f "${draft}" ; return 1 ; }
  mv "${draft}" "$1"
}
