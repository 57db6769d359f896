# bash completion for kanidm-ldap-sync

_kanidm_ldap_sync() {
  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  # --option=value is three words to bash.
  if [[ $current == = ]]; then
    current=
  elif [[ $before == = ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case $before in
    -c|--client-config|-i|-l|--ldap-sync-config)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
    -I|--instance|--explain)
      COMPREPLY=()
      ;;
    *)
      mapfile -t COMPREPLY < <(compgen -W "-c --client-config -i -l --ldap-sync-config -I --instance -n --dry-run --schedule --full-refresh --accept-deletes --check --explain --status --json -d --debug -q --quiet -p --proto-dump -s --skip-root-check -h --help -V --version" -- "$current")
      ;;
  esac
}
complete -F _kanidm_ldap_sync kanidm-ldap-sync
