package devmysql

import (
	"sync"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
)

// addSessionVariables corrects go-mysql-server's list of system variables, which
// the whole process shares. In MySQL each session may set this one, and careful
// clients do, since a lock is waited for very long by default.
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
