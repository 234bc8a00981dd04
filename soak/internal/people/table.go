package people

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
)

// Database is the name of the database that the table is in.
const Database = "soak"

// FirstID is the primary key of the first person. The first three of its four
// bytes are those of all, so that every token begins alike, and none is missed
// in a log.
const FirstID = 0x5E5A4E00

// TokenPrefix is what all tokens begin with: those bytes in base64.
const TokenPrefix = "XlpO"

// mostPeople is how many keys have those bytes in front.
const mostPeople = 256

// Table is auth_user in a private MariaDB.
type Table struct {
	Server *testmariadb.Server
	Admin  *sql.DB
	People []*Person // who use tokens as often as they like
	Once   []*Person // whose tokens are for one use; their rows change by that alone

	passwords atomic.Int64
}

//go:embed auth_user.sql
var createTable string

// Start runs a MariaDB in a directory, with a table of people.
func Start(ctx context.Context, dir string, reusable, once int) (*Table, error) {
	if reusable+once > mostPeople {
		return nil, fmt.Errorf("%d people are too many, %d is the most", reusable+once, mostPeople)
	}
	// What was committed must outlive a crash of the server, which MariaDB's
	// own default sees to, and that of tests doesn't. 2 is as good as 1 as long
	// as the machine itself goes on.
	server, err := testmariadb.Start(dir, append(testmariadb.PrimaryOptions, "--innodb-flush-log-at-trx-commit=2")...)
	if err != nil {
		return nil, err
	}
	// That connections end is what a soak is about.
	if err := mysql.SetLogger(&mysql.NopLogger{}); err != nil {
		return nil, err
	}
	t := &Table{Server: server}
	if err := t.fill(ctx, reusable, once); err != nil {
		t.Stop()
		return nil, err
	}
	return t, nil
}

func (t *Table) fill(ctx context.Context, reusable, once int) error {
	if err := t.Server.CreateDatabase(Database); err != nil {
		return err
	}
	var err error
	if t.Admin, err = sql.Open("mysql", t.Server.DSN(Database)); err != nil {
		return fmt.Errorf("opening MariaDB: %w", err)
	}
	if _, err := t.Admin.ExecContext(ctx, createTable); err != nil {
		return fmt.Errorf("creating the table of users: %w", err)
	}
	for i := range reusable + once {
		p := newPerson(int64(FirstID+i), "person"+strconv.Itoa(i), t.newPassword())
		password, _ := p.Now()
		if _, err := t.Admin.ExecContext(ctx,
			"INSERT INTO auth_user VALUES (?, ?, NULL, 0, ?, '', '', ?, 0, 1, NOW())",
			p.ID, password, p.Name, p.Name+"@example.com"); err != nil {
			return fmt.Errorf("inserting a user: %w", err)
		}
		if i < reusable {
			t.People = append(t.People, p)
		} else {
			t.Once = append(t.Once, p)
		}
	}
	return nil
}

// AccountPassword is that of the gateways' MySQL users.
const AccountPassword = "of-a-gateway-in-a-soak"

// Account makes a MySQL user with the privileges that docs/mysql.md tells of for
// one-time tokens and sessions, and no more, and returns its DSN.
func (t *Table) Account(ctx context.Context, name string) (dsn string, err error) {
	host, _, err := net.SplitHostPort(t.Server.Addr())
	if err != nil {
		return "", err
	}
	account := fmt.Sprintf("'%s'@'%s'", name, host)
	return t.account(ctx, name, []string{
		"CREATE USER " + account + " IDENTIFIED BY '" + AccountPassword + "'",
		"GRANT SELECT (id, username, email, password, is_active) ON auth_user TO " + account,
		"GRANT SELECT (last_login), UPDATE (last_login) ON auth_user TO " + account,
	})
}

// FollowAccount makes a MySQL user with the privileges that docs/follow.md tells of,
// and returns its DSN.
func (t *Table) FollowAccount(ctx context.Context, name string) (dsn string, err error) {
	host, _, err := net.SplitHostPort(t.Server.Addr())
	if err != nil {
		return "", err
	}
	account := fmt.Sprintf("'%s'@'%s'", name, host)
	return t.account(ctx, name, []string{
		"CREATE USER " + account + " IDENTIFIED BY '" + AccountPassword + "'",
		"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO " + account,
		"GRANT REFERENCES ON " + Database + ".* TO " + account,
	})
}

func (t *Table) account(ctx context.Context, name string, statements []string) (dsn string, err error) {
	for _, statement := range statements {
		if _, err := t.Admin.ExecContext(ctx, statement); err != nil {
			return "", fmt.Errorf("making the account of a gateway: %w", err)
		}
	}
	return t.Server.UserDSN(name, AccountPassword, Database), nil
}

// Port is the server's.
func (t *Table) Port() int {
	_, port, _ := strings.Cut(t.Server.Addr(), ":")
	n, _ := strconv.Atoi(port) // testmariadb made it of a number
	return n
}

// Stop ends the server.
func (t *Table) Stop() {
	if t.Admin != nil {
		_ = t.Admin.Close() // the server ends all the same
	}
	t.Server.Stop()
}

// newPassword makes what stands for a hash that no row has had before.
func (t *Table) newPassword() string {
	return fmt.Sprintf("pbkdf2_sha256$1000000$soak$%040d=", t.passwords.Add(1))
}

// ChangePassword gives a person a new password. It returns when MySQL has
// confirmed it.
func (t *Table) ChangePassword(ctx context.Context, p *Person) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	_, active := p.Now()
	return t.change(ctx, p, t.newPassword(), active)
}

// SetActive deactivates a person or ends that. It returns when MySQL has
// confirmed it.
func (t *Table) SetActive(ctx context.Context, p *Person, active bool) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	password, _ := p.Now()
	return t.change(ctx, p, password, active)
}

func (t *Table) change(ctx context.Context, p *Person, password string, active bool) error {
	p.begin(password, active)
	if err := t.persist(ctx, func() error {
		_, err := t.Admin.ExecContext(ctx, "UPDATE auth_user SET password = ?, is_active = ? WHERE id = ?", password, active, p.ID)
		return err
	}); err != nil {
		return fmt.Errorf("changing a user: %w", err)
	}
	p.confirm()
	return nil
}

// LastLogin reads the column as tokens are made with it; nil is NULL.
func (t *Table) LastLogin(ctx context.Context, p *Person) (*time.Time, error) {
	var text sql.NullString
	err := t.persist(ctx, func() error {
		return t.Admin.QueryRowContext(ctx, "SELECT last_login FROM auth_user WHERE id = ?", p.ID).Scan(&text)
	})
	if err != nil || !text.Valid {
		return nil, err
	}
	at, err := time.Parse("2006-01-02 15:04:05.999999", text.String)
	if err != nil {
		return nil, fmt.Errorf("reading last_login: %w", err)
	}
	return &at, nil
}

// persist tries until MySQL answers. There is no limit for one try: a statement
// that was given up could take effect after later ones, and only a connection
// that broke with its server, or was refused, is sure not to.
func (*Table) persist(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil || errors.Is(err, sql.ErrNoRows) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
