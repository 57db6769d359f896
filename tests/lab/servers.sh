# A real slapd and the Kanidm engine for tests written in shell. Sourced by tests/systemd and
# tests/container.
#
# The ports are fixed, so the test has a network namespace of its own. It has a process namespace
# too, which ends both servers with the test.
#
#   slapd            ldaps://localhost, cn=sync,dc=example,dc=com with $ldap_password
#   Kanidm engine    https://localhost:8443, sync account with $sync_token; controls on port 8444
#   $servers/ca.pem  the authority of both certificates

# Ends the test with a reason. The test may define its own.
if ! declare -F fail >/dev/null; then
  fail() {
    echo "$*" >&2
    exit 1
  }
fi

ldap_password=sync-secret-1
suffix=dc=example,dc=com

# Starts both in the folder $1. Returns when both answer.
start_servers() {
  servers=$1
  mkdir -p "$servers"
  ip link set lo up
  make_certificates
  start_slapd
  start_engine
  sync_token=$(kanidm POST sync-account '{"name":"ldap"}' | sed -n 's/.*"token":"\([^"]*\)".*/\1/p')
  [ -n "$sync_token" ]
}

# Calls a control of the engine, see tests/kanidm/README.md.
kanidm() {
  curl --silent --show-error --fail --request "$1" ${3:+--data "$3"} "http://127.0.0.1:8444/test/$2"
}

# The names in Kanidm, in one line.
kanidm_names() {
  kanidm GET 'entries?account=ldap' | grep -o '"name":"[^"]*"' | cut -d '"' -f 4 | sort | xargs
}

# The display name that Kanidm has for a person.
kanidm_display_name() {
  kanidm GET 'entries?account=ldap' | sed 's/{"account_expire"/\n&/g' | grep "\"name\":\"$1\"" |
    sed -n 's/.*"displayname":"\([^"]*\)".*/\1/p'
}

# Changes the directory by the LDIF on standard input.
change_directory() {
  ldapmodify -x -H "ldapi://${servers//\//%2F}%2Fldapi" -D "cn=admin,$suffix" -w admin-secret-1 >/dev/null
}

# A person as LDIF: user name, surname, and more lines.
person_ldif() {
  printf '%s\n' "dn: uid=$1,ou=people,$suffix" "changetype: add" "objectClass: inetOrgPerson" \
    "uid: $1" "cn: $1 of the lab" "sn: $2" "${@:3}"
}

make_certificates() {
  local name
  cd "$servers"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=Lab CA" \
    -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.pem 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=localhost" \
    -keyout server.key -out server.csr 2>/dev/null
  openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out server.pem \
    -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\n') 2>/dev/null
  chmod 644 ca.pem
  cd - >/dev/null
}

start_slapd() {
  local tls="TLSCACertificateFile $servers/ca.pem\nTLSCertificateFile $servers/server.pem\nTLSCertificateKeyFile $servers/server.key"
  sed -e "s|@LAB@|$PWD/tests/lab|" -e "s|@SYNCPROV_MODULE@|moduleload syncprov|" -e "s|@TLS@|$tls|" \
    -e "s|@SUFFIX@|$suffix|g" -e "s|@ADMIN_PASSWORD@|admin-secret-1|" -e "s|@DB@|$servers/db|" \
    -e "s|@SYNC_LIMITS@|size=unlimited time=unlimited|" -e "s|@EXTRA_[A-Z]*@||" \
    -e "s|@OVERLAYS@|overlay syncprov\nsyncprov-checkpoint 100 10|" tests/lab/slapd.conf >"$servers/slapd.conf"
  mkdir "$servers/db"
  # -w: contextCSN, without which a first refresh has no cookie.
  initial_content | slapadd -q -w -f "$servers/slapd.conf" || return
  slapd -f "$servers/slapd.conf" -d 0 -h "ldapi://${servers//\//%2F}%2Fldapi/ ldaps://127.0.0.1/" >"$servers/slapd.log" 2>&1 &
  slapd_pid=$!
  wait_until "slapd answers" ldapwhoami -x -H "ldapi://${servers//\//%2F}%2Fldapi"
}

# Three persons and a group. Their passwords are hashes that Kanidm accepts.
initial_content() {
  local unit name
  printf '%s\n' "dn: $suffix" "objectClass: dcObject" "objectClass: organization" "dc: example" "o: Lab" ""
  for unit in people groups; do
    printf '%s\n' "dn: ou=$unit,$suffix" "objectClass: organizationalUnit" "ou: $unit" ""
  done
  printf '%s\n' "dn: cn=sync,$suffix" "objectClass: organizationalRole" "objectClass: simpleSecurityObject" \
    "cn: sync" "userPassword: $(slappasswd -s "$ldap_password")" ""
  for name in ana ben cleo; do
    person_ldif "$name" "${name^}" "userPassword: $(slappasswd -s "$name-password-1")" "mail: $name@example.com" "" | grep -v ^changetype
  done
  printf '%s\n' "dn: cn=staff,ou=groups,$suffix" "objectClass: groupOfNames" "cn: staff" \
    "member: uid=ana,ou=people,$suffix" "member: uid=ben,ou=people,$suffix"
}

start_engine() {
  local engine=${KANIDM_TEST_SERVER:-tests/kanidm/target/debug/kanidm-test-server}
  # It ends when its standard input does.
  mkfifo "$servers/life"
  "$engine" --cert "$servers/server.pem" --key "$servers/server.key" --https 127.0.0.1:8443 --control 8444 \
    <>"$servers/life" >"$servers/engine.log" 2>&1 &
  wait_until "the Kanidm engine is ready" grep -q '^ready ' "$servers/engine.log"
}

# Waits until a command succeeds: what it means, and the command.
wait_until() {
  local what=$1 begun=$SECONDS
  shift
  until "$@" >/dev/null 2>&1; do
    if [ $((SECONDS - begun)) -ge 120 ]; then fail "this does not happen within two minutes: $what"; fi
    sleep 0.1
  done
}
