#!/usr/bin/env bash
# What the official entrypoint does with its environment: the user. `default`, whom that removes, stays for the engine's
# own command line, on loopback (users.xml); nobody comes to a container from there.
set -e
user=${CLICKHOUSE_USER:?}
cat > /etc/clickhouse-server/users.d/default-user.xml <<X
<clickhouse>
  <users>
    <$user>
      <profile>default</profile>
      <quota>default</quota>
      <networks><ip>::/0</ip></networks>
      <password><![CDATA[${CLICKHOUSE_PASSWORD}]]></password>
    </$user>
  </users>
</clickhouse>
X
# A server puts the files of config.d into its configuration; the engine's command line does not.
{
  echo '<clickhouse>'
  grep --no-filename -v '^</*clickhouse>$' /etc/clickhouse-server/config.xml $(ls /etc/clickhouse-server/config.d/*.xml 2> /dev/null)
  echo '</clickhouse>'
} > /run/clickhouse.xml
chown clickhouse: /etc/clickhouse-server/users.d/default-user.xml
chown -R clickhouse: /var/lib/clickhouse
# The engine is up while its command line has work.
exec setpriv --reuid clickhouse --regid clickhouse --clear-groups /usr/bin/clickhouse-server \
  --path=/var/lib/clickhouse/ --http_port=8123 --listen_host=0.0.0.0 \
  --config-file=/run/clickhouse.xml --log-level=warning \
  --query='SYSTEM START LISTEN HTTP;
    SELECT sleepEachRow(0.25) FROM numbers(1000000000000) SETTINGS max_block_size = 1 FORMAT Null'
