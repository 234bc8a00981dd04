package devmysql

import (
	"sync"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
)

// addSessionVariables corrects go-mysql-server's list of system variables, of
// which there is one in a process. In MySQL each session may set this one, and
// careful clients do, since by default a lock is waited for very long.
var addSessionVariables = sync.OnceFunc(func() {
	const name = "innodb_lock_wait_timeout"
	sql.SystemVariables.AddSystemVariables([]sql.SystemVariable{
		&sql.MysqlSystemVariable{
			Name:              name,
			Scope:             sql.GetMysqlScope(sql.SystemVariableScope_Both),
			Dynamic:           true,
			SetVarHintApplies: true,
			Type:              types.NewSystemIntType(name, 1, 1073741824, false),
			Default:           int64(50),
		},
	})
})
