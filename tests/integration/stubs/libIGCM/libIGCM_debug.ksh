# The names of libIGCM, with just enough behind them, and its manners: it says much, and sets
# traps and names that are not meant for whoever sources it.
NULL_STR="_0_"
trap 'echo "a trap of libIGCM"' EXIT
function say { echo "a function of libIGCM: $*" ; }
