#compdef kanidm-ldap-sync

_arguments -s -S \
  '(-c --client-config)-c+[Kanidm client config \[default: /etc/kanidm/config\]]:PATH:_files' \
  '(-c --client-config)--client-config=[Kanidm client config \[default: /etc/kanidm/config\]]:PATH:_files' \
  '(-i -l --ldap-sync-config)-i+[sync config \[default: /etc/kanidm/ldap-sync\]]:PATH:_files' \
  '(-i -l --ldap-sync-config)-l+[sync config \[default: /etc/kanidm/ldap-sync\]]:PATH:_files' \
  '(-i -l --ldap-sync-config)--ldap-sync-config=[sync config \[default: /etc/kanidm/ldap-sync\]]:PATH:_files' \
  '(-I --instance)-I+[instance table of the client config]:NAME: ' \
  '(-I --instance)--instance=[instance table of the client config]:NAME: ' \
  '(-n --dry-run)-n[read, map, validate and guard; print what would be sent; send nothing]' \
  '(-n --dry-run)--dry-run[read, map, validate and guard; print what would be sent; send nothing]' \
  '(--schedule)--schedule[stay and run by the cron expression; status_bind answers]' \
  '(--full-refresh)--full-refresh[ignore the cookie for this run]' \
  '(--accept-deletes)--accept-deletes[let this run exceed the deletion guard]' \
  '(--check)--check[test configuration, files, directory and Kanidm one by one]' \
  '(--explain)--explain=[tell why the entry (DN, UUID or name) is in Kanidm or not]:WHO: ' \
  '(--status)--status[ask the configured status_bind; exit 0 to 3 as a Nagios plugin]' \
  '(--json)--json[the answer of a run, --check or --explain as JSON on stdout]' \
  '(-d --debug)-d[log more \[also: KANIDM_DEBUG\]]' \
  '(-d --debug)--debug[log more \[also: KANIDM_DEBUG\]]' \
  '(-q --quiet)-q[log only warnings and errors, for cron]' \
  '(-q --quiet)--quiet[log only warnings and errors, for cron]' \
  '(-p --proto-dump)-p[print LDAP input and SCIM request as JSON; send nothing]' \
  '(-p --proto-dump)--proto-dump[print LDAP input and SCIM request as JSON; send nothing]' \
  '(-s --skip-root-check)-s[run as root all the same]' \
  '(-s --skip-root-check)--skip-root-check[run as root all the same]' \
  '(-h --help)-h[print this help]' \
  '(-h --help)--help[print this help]' \
  '(-V --version)-V[print the version]' \
  '(-V --version)--version[print the version]'
