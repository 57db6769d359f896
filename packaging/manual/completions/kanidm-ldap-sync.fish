# fish completion for kanidm-ldap-sync

complete -c kanidm-ldap-sync -f
complete -c kanidm-ldap-sync -s c -l client-config -r -F -d 'Kanidm client config [default: /etc/kanidm/config]'
complete -c kanidm-ldap-sync -s i -s l -l ldap-sync-config -r -F -d 'sync config [default: /etc/kanidm/ldap-sync]'
complete -c kanidm-ldap-sync -s I -l instance -x -d 'instance table of the client config'
complete -c kanidm-ldap-sync -s n -l dry-run -d 'read, map, validate and guard; print what would be sent; send nothing'
complete -c kanidm-ldap-sync -l schedule -d 'stay and run by the cron expression; status_bind answers'
complete -c kanidm-ldap-sync -l full-refresh -d 'ignore the cookie for this run'
complete -c kanidm-ldap-sync -l accept-deletes -d 'let this run exceed the deletion guard'
complete -c kanidm-ldap-sync -l check -d 'test configuration, files, directory and Kanidm one by one'
complete -c kanidm-ldap-sync -l status -d 'ask the configured status_bind; exit 0 to 3 as a Nagios plugin'
complete -c kanidm-ldap-sync -l json -d 'the report of a run or --check as JSON on stdout'
complete -c kanidm-ldap-sync -s d -l debug -d 'log more [also: KANIDM_DEBUG]'
complete -c kanidm-ldap-sync -s q -l quiet -d 'log only warnings and errors, for cron'
complete -c kanidm-ldap-sync -s p -l proto-dump -d 'print LDAP input and SCIM request as JSON; send nothing'
complete -c kanidm-ldap-sync -s s -l skip-root-check -d 'run as root all the same'
complete -c kanidm-ldap-sync -s h -l help -d 'print this help'
complete -c kanidm-ldap-sync -s V -l version -d 'print the version'
