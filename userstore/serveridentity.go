package userstore

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The statements that a server's identity is read by. Any account may execute them.
const (
	askIdentity = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_id', 'server_uuid', 'server_uid', 'hostname', 'port')"
	askUptime   = "SHOW GLOBAL STATUS LIKE 'Uptime'"
)

// IdentityOf asks a server for its identity. read executes a statement that returns
// rows of a name and a value, and calls found for each.
func IdentityOf(read func(statement string, found func(name, value string)) error) (ServerIdentity, error) {
	values := make(map[string]string)
	for _, statement := range []string{askIdentity, askUptime} {
		if err := read(statement, func(name, value string) { values[strings.ToLower(name)] = value }); err != nil {
			return ServerIdentity{}, fmt.Errorf("asking for the server's identity: %w", err)
		}
	}
	i := ServerIdentity{UUID: values["server_uuid"], Hostname: values["hostname"]}
	if i.UUID == "" {
		i.UUID = values["server_uid"] // MariaDB's
	}
	id, err := strconv.ParseUint(values["server_id"], 10, 32)
	if err != nil {
		return i, fmt.Errorf("reading server_id: %w", err)
	}
	i.ServerID = uint32(id)
	i.Port, _ = strconv.Atoi(values["port"]) // 0 if it has none
	if uptime, err := strconv.ParseInt(values["uptime"], 10, 64); err == nil {
		i.Started = time.Now().Add(-time.Duration(uptime) * time.Second).Truncate(time.Second)
	}
	return i, nil
}

// uptimeSlack is how far two calculations of when one server was started may differ:
// servers tell the time since in whole seconds, and answers take time.
const uptimeSlack = 4 * time.Second

// Is reports whether two identities are of one server process.
func (i ServerIdentity) Is(other ServerIdentity) bool {
	if !i.Started.IsZero() && !other.Started.IsZero() && i.Started.Sub(other.Started).Abs() > uptimeSlack {
		return false
	}
	i.Started, other.Started = time.Time{}, time.Time{}
	return i == other
}

// String describes the server for logs.
func (i ServerIdentity) String() string {
	return fmt.Sprintf("server_id %d, %s:%d, %s", i.ServerID, i.Hostname, i.Port, i.UUID)
}
