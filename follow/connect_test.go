package follow_test

import (
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/follow"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestConnectionIsMadeAsTheDSNSays connects in each way that a DSN may name.
func TestConnectionIsMadeAsTheDSNSays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, err := testmariadb.NewAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	options, err := authority.ServerOptions(time.Now().Add(time.Hour), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "mysqld.sock")
	server := startServer(t, append(options, "--socket="+socket, "--plugin-load-add=auth_ed25519")...)
	name := database(t, server, "connected", usersTable, "INSERT INTO users (id, name) VALUES (1, 'ann')",
		"CREATE USER secure IDENTIFIED BY 'pass:@/word' REQUIRE SSL", "CREATE USER empty", "CREATE USER edwards IDENTIFIED VIA ed25519 USING PASSWORD('edwards')",
		"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO secure, empty, edwards", "GRANT SELECT ON connected.* TO secure, empty, edwards")
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(authority.File())
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(pem)
	for way, change := range map[string]func(*mysql.Config){
		"no password":         func(cfg *mysql.Config) { cfg.User = "empty" },
		"ed25519":             func(cfg *mysql.Config) { cfg.User, cfg.Passwd = "edwards", "edwards" },
		"TLS":                 func(cfg *mysql.Config) { cfg.TLS = &tls.Config{RootCAs: roots} },
		"TLS without a check": func(cfg *mysql.Config) { cfg.TLS = &tls.Config{InsecureSkipVerify: true} },
		"TLS where it is there": func(cfg *mysql.Config) {
			cfg.TLS, cfg.AllowFallbackToPlaintext = &tls.Config{InsecureSkipVerify: true}, true
		},
		"a unix socket": func(cfg *mysql.Config) { cfg.User, cfg.Passwd, cfg.Net, cfg.Addr = "empty", "", "unix", socket },
		"a database":    func(cfg *mysql.Config) { cfg.User, cfg.Passwd, cfg.DBName = "empty", "", "nowhere" },
	} {
		t.Run(way, func(t *testing.T) {
			source := sourceOf(t, server, name, "users id")
			source.Server.User, source.Server.Passwd = "secure", "pass:@/word"
			if way == "no password" {
				source.Server.Passwd = ""
			}
			change(source.Server)
			f := start(t, source)
			f.expect(t, server, []string{"users 1"}, "UPDATE users SET n = n + 1")
		})
	}
	t.Run("TLS with another authority", func(t *testing.T) {
		source := sourceOf(t, server, name, "users id")
		source.Server.User, source.Server.Passwd, source.Server.TLS = "secure", "pass:@/word", &tls.Config{}
		if err := launch(t, source).end(t); err == nil || strings.Contains(err.Error(), "pass:@/word") {
			t.Errorf("following ends with %v", err)
		}
	})
	t.Run("TLS where there is none", func(t *testing.T) {
		source := sourceOf(t, startServer(t), "mysql", "innodb_table_stats table_name")
		source.Server.TLS, source.Server.AllowFallbackToPlaintext = &tls.Config{InsecureSkipVerify: true}, true
		start(t, source)
	})
}

// privilegeCases are what an account lacks, and what is said then.
var privilegeCases = []struct{ grants, want string }{
	{"", "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO it"},
	{"REPLICATION SLAVE ON *.*", "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO it"},
	{"BINLOG MONITOR ON *.*", "GRANT REFERENCES ON `account`.`users` TO it"},
	{"BINLOG MONITOR ON *.*; SELECT ON account.*", "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO it"},
	{"REPLICATION SLAVE, BINLOG MONITOR ON *.*", "GRANT REFERENCES ON `account`.`users` TO it"},
	{"REPLICATION SLAVE, BINLOG MONITOR ON *.*; SELECT (name) ON account.users", "GRANT REFERENCES ON `account`.`users` TO it"},
	{"REPLICATION SLAVE, BINLOG MONITOR ON *.*; SELECT (id) ON account.users", ""},
	{"REPLICATION SLAVE, BINLOG MONITOR ON *.*; SELECT ON account.*", ""},
	{"REPLICATION SLAVE, BINLOG MONITOR ON *.*; REFERENCES ON account.*", ""},
}

// TestPrivileges follows and inspects with accounts that lack a privilege.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	server := needsServer(t)
	name := database(t, server, "account", usersTable, "INSERT INTO users (id, name) VALUES (1, 'ann')")
	for i, account := range privilegeCases {
		t.Run(account.grants, func(t *testing.T) {
			user := fmt.Sprintf("account%d", i)
			exec(t, server, "", "CREATE USER "+user+" IDENTIFIED BY 'secret'")
			for grant := range strings.SplitSeq(account.grants, "; ") {
				if grant != "" {
					exec(t, server, "", "GRANT "+grant+" TO "+user)
				}
			}
			source := sourceOf(t, server, name, "users id")
			source.Server.User, source.Server.Passwd = user, "secret"
			report, err := follow.Follower{}.Inspect(t.Context(), source)
			if err != nil {
				t.Fatal(err)
			}
			if said := strings.Join(report.Problems, "\n"); account.want == "" && said != "" || !strings.Contains(said, account.want) {
				t.Errorf("the problems are %q, and not %q", said, account.want)
			}
			if account.want == "" {
				start(t, source).expect(t, server, []string{"users 1"}, "UPDATE users SET n = n + 1")
				return
			}
			if err := launch(t, source).end(t); !errors.As(err, new(*userstore.Unfollowable)) {
				t.Errorf("following ends with %v, after which it is tried again", err)
			}
		})
	}
}

// TestPrivilegeThatIsLostWhileFollowing takes an account's privileges, its password,
// and the account itself, while its stream is in use.
func TestPrivilegeThatIsLostWhileFollowing(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	name := database(t, server, "lost", usersTable, "INSERT INTO users (id, name) VALUES (1, 'ann')")
	for _, loss := range []string{"REVOKE ALL, GRANT OPTION FROM loser", "ALTER USER loser IDENTIFIED BY 'another'", "DROP USER loser"} {
		exec(t, server, "", "CREATE USER IF NOT EXISTS loser", "ALTER USER loser IDENTIFIED BY 'secret'",
			"GRANT REPLICATION SLAVE, BINLOG MONITOR, SELECT ON *.* TO loser")
		source := sourceOf(t, server, name, "users id")
		source.Server.User, source.Server.Passwd = "loser", "secret"
		f := start(t, source)
		exec(t, server, "", loss)
		// The server asks for privileges when a stream begins. Until it is ended, changes
		// are reported.
		f.expect(t, server, []string{"users 1"}, "UPDATE users SET n = n + 1")
		killStream(t, server)
		if err := f.end(t); errors.As(err, new(*userstore.Unfollowable)) {
			t.Errorf("the stream has ended with %v", err)
		}
		if err := launch(t, source).end(t); !errors.As(err, new(*userstore.Unfollowable)) || strings.Contains(err.Error(), "secret") {
			t.Errorf("after %s, following ends with %v", loss, err)
		}
	}
}

func killStream(t *testing.T, server *testmariadb.Server) {
	t.Helper()
	exec(t, server, "", "BEGIN NOT ATOMIC DECLARE stream int; "+
		"SELECT ID INTO stream FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'; KILL stream; END")
}

// TestInspectSaysWhatToChange inspects servers that can't be followed, or not well.
func TestInspectSaysWhatToChange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		options           []string
		problem, warning  string
		isProblemOfFollow bool
	}{
		{[]string{"--skip-log-bin"}, "set log_bin in its configuration", "", true},
		{[]string{"--binlog-do-db=other"}, "remove binlog_do_db and binlog_ignore_db", "", true},
		{[]string{"--binlog-ignore-db=inspected"}, "remove binlog_do_db and binlog_ignore_db", "", true},
		{[]string{"--binlog-do-db=inspected"}, "remove binlog_do_db and binlog_ignore_db", "", true},
		{[]string{"--binlog-ignore-db=other"}, "remove binlog_do_db and binlog_ignore_db", "", true},
		{[]string{"--binlog-optimize-thread-scheduling=OFF"}, "binlog_optimize_thread_scheduling is OFF", "", false},
		{[]string{"--binlog-format=MIXED"}, "", "SET GLOBAL binlog_format = 'ROW'", false},
		{[]string{"--binlog-format=STATEMENT"}, "", "SET GLOBAL binlog_format = 'ROW'", false},
		{[]string{"--binlog-row-image=MINIMAL"}, "", "SET GLOBAL binlog_row_image = 'FULL'", false},
		{[]string{"--binlog-row-image=NOBLOB"}, "", "SET GLOBAL binlog_row_image = 'FULL'", false},
		{nil, "", "", false},
	} {
		t.Run(strings.Join(test.options, " "), func(t *testing.T) {
			t.Parallel()
			server := startServer(t, test.options...)
			source := sourceOf(t, server, database(t, server, "inspected", usersTable), "users id")
			report, err := follow.Follower{}.Inspect(t.Context(), source)
			if err != nil {
				t.Fatal(err)
			}
			for _, said := range []struct {
				kind, want string
				texts      []string
			}{{"problems", test.problem, report.Problems}, {"warnings", test.warning, report.Warnings}} {
				if text := strings.Join(said.texts, "\n"); !strings.Contains(text, said.want) || said.want == "" && text != "" {
					t.Errorf("the %s are %q, and not %q", said.kind, text, said.want)
				}
			}
			if report.Identity.ServerID != 1 || !strings.Contains(report.Version, "MariaDB") {
				t.Errorf("the server is %v, %s", report.Identity, report.Version)
			}
			if test.isProblemOfFollow {
				if err := launch(t, source).end(t); !errors.As(err, new(*userstore.Unfollowable)) || !strings.Contains(err.Error(), test.problem) {
					t.Errorf("following ends with %v", err)
				}
			}
		})
	}
}

// TestInspectOfReplicas inspects replicas that log what they replicate, and that don't.
func TestInspectOfReplicas(t *testing.T) {
	t.Parallel()
	primary := startServer(t)
	name := database(t, primary, "replicated", usersTable, "INSERT INTO users (id, name) VALUES (1, 'ann')")
	for _, test := range []struct{ updates, problem string }{{"OFF", "doesn't log what it replicates: set log_slave_updates=ON"}, {"ON", ""}} {
		replica := startServer(t, append(testmariadb.ReplicaOptions, "--server-id=3", "--log-slave-updates="+test.updates)...)
		if err := replica.Replicate(primary); err != nil {
			t.Fatal(err)
		}
		awaitTable(t, open(t, replica, name), "users")
		source := sourceOf(t, replica, name, "users id")
		report, err := follow.Follower{}.Inspect(t.Context(), source)
		if err != nil {
			t.Fatal(err)
		}
		if said := strings.Join(report.Problems, "\n"); !strings.Contains(said, test.problem) || test.problem == "" && said != "" {
			t.Errorf("with log_slave_updates=%s, the problems are %q", test.updates, said)
		}
		if test.problem == "" {
			f := start(t, source)
			exec(t, primary, name, "UPDATE users SET n = n + 1")
			f.await(t, "users 1")
		}
	}
}

// awaitTable waits until a table is there.
func awaitTable(t *testing.T, db *sql.DB, table string) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); ; {
		if _, err := db.Exec("SELECT * FROM " + table); err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatal("the table isn't there")
		}
	}
}

// TestTablesThatCantBeFollowed names views, and tables of engines of whose changes the
// log doesn't tell when queries see them.
func TestTablesThatCantBeFollowed(t *testing.T) {
	t.Parallel()
	server := needsServer(t)
	name := database(t, server, "elsewhere", usersTable, "CREATE VIEW seen AS SELECT * FROM users",
		"CREATE TABLE transactions (id int PRIMARY KEY, a bigint unsigned GENERATED ALWAYS AS ROW START, b bigint unsigned GENERATED ALWAYS AS ROW END, "+
			"PERIOD FOR SYSTEM_TIME (a, b)) WITH SYSTEM VERSIONING",
		"CREATE TABLE one (id int) ENGINE=MyISAM", "CREATE TABLE safe (id int) ENGINE=Aria", "CREATE TABLE merged (id int) ENGINE=MERGE UNION=(one)",
		"CREATE TABLE versions (id int PRIMARY KEY) WITH SYSTEM VERSIONING", "CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3")
	for table, want := range map[string]string{
		"seen": "name the table that it reads", "merged": "move it to InnoDB", "one id": "move it to InnoDB", "safe id": "move it to InnoDB", "missing": "GRANT REFERENCES", "users nothing": "doesn't see the column nothing",
		"transactions id": "have timestamps as its ROW START",
	} {
		err := launch(t, sourceOf(t, server, name, table)).end(t)
		if !errors.As(err, new(*userstore.Unfollowable)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: following ends with %v, and not with %s", table, err, want)
		}
	}
	f := start(t, sourceOf(t, server, name, "versions id", "parts id"))
	f.expect(t, server, []string{"parts 1", "parts 2", "versions 7"}, "INSERT INTO versions VALUES (7)", "INSERT INTO parts VALUES (1), (2)")
}
