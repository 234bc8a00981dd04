// Package devmysql is a MySQL server inside a Go program, with Django's tables in
// memory: for the demo and for tests, where no server is installed. It is
// go-mysql-server, with one statement at a time, so that it is correct under
// concurrency, but slow. It doesn't show how MySQL behaves under load.
package devmysql

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	gms "github.com/dolthub/go-mysql-server"
	"github.com/dolthub/go-mysql-server/memory"
	"github.com/dolthub/go-mysql-server/server"
	vitess "github.com/dolthub/vitess/go/mysql"
	"github.com/go-sql-driver/mysql"
	"github.com/sirupsen/logrus"
)

// Database is the one database of a server.
const Database = "django"

// Options configure a server. Zero values mean the defaults.
type Options struct {
	// Addr is where to listen. Default: a free port of 127.0.0.1.
	Addr string

	// User is the only account. Default: django.
	User string

	// Password is the account's. Default: sesame. It can't be empty, so that a
	// client without a password is rejected, as by a real server.
	Password string

	// Verbose logs what the engine does to standard error. The engine's log is
	// one for the whole process.
	Verbose bool
}

//go:embed schema.sql
var schema string

// Server is a running server.
type Server struct {
	options  Options
	listener *listener
	server   *server.Server
	served   chan struct{} // closed when no connection is left
	db       *sql.DB       // for Exec
	close    func() error
}

// Start starts a server that has Django's tables, without any rows. The caller
// closes it.
func Start(options Options) (*Server, error) {
	options.setDefaults()
	if options.Verbose {
		logrus.SetLevel(logrus.InfoLevel)
	} else {
		// The engine warns of every statement that fails; its client gets the error
		// anyway.
		logrus.SetLevel(logrus.PanicLevel)
	}
	l, err := net.Listen("tcp", options.Addr)
	if err != nil {
		return nil, fmt.Errorf("listening for MySQL clients: %w", err)
	}
	s := &Server{options: options, listener: newListener(l), served: make(chan struct{})}
	s.close = sync.OnceValue(s.shutDown)
	if err := s.serve(); err != nil {
		l.Close()
		return nil, fmt.Errorf("starting the embedded MySQL server: %w", err)
	}
	if err := s.connect(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Exec(schema); err != nil {
		return nil, errors.Join(fmt.Errorf("making Django's tables: %w", err), s.Close())
	}
	return s, nil
}

func (o *Options) setDefaults() {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.User == "" {
		o.User = "django"
	}
	if o.Password == "" {
		o.Password = "sesame"
	}
}

// serve accepts connections in the background.
func (s *Server) serve() error {
	addSessionVariables()
	db := memory.NewDatabase(Database)
	db.EnablePrimaryKeyIndexes()
	provider := memory.NewDBProvider(db)
	engine := gms.NewDefault(provider)

	accounts := engine.Analyzer.Catalog.MySQLDb
	editor := accounts.Editor()
	accounts.AddSuperUser(editor, s.options.User, "%", s.options.Password)
	editor.Close()

	var err error
	s.server, err = server.NewServerWithHandler(
		server.Config{Protocol: "tcp", Address: s.Addr(), Listener: s.listener, Version: version},
		engine,
		newContext,
		memory.NewSessionBuilder(provider),
		nil,
		func(h vitess.Handler) (vitess.Handler, error) { return &oneAtATime{Handler: h}, nil },
	)
	if err != nil {
		return err
	}
	go func() {
		defer close(s.served)
		_ = s.server.Start() // it returns when the listener is closed, and never an error
		s.listener.conns.Wait()
	}()
	return nil
}

// version is the version that clients see. The driver and Django check it.
const version = "8.0.36-devmysql"

// connect makes the pool for Exec, and waits until the server answers.
func (s *Server) connect() error {
	cfg, err := mysql.ParseDSN(s.DSN())
	if err != nil {
		return err
	}
	// Scripts have many statements.
	cfg.MultiStatements = true
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	s.db = sql.OpenDB(connector)
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	if err := s.db.PingContext(ctx); err != nil {
		return fmt.Errorf("the embedded MySQL server doesn't answer: %w", err)
	}
	return nil
}

// answerLimit is far more than a server in the same process needs.
const answerLimit = 20 * time.Second

// Addr is the host and port that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// DSN is the server's address, database and account as go-sql-driver/mysql
// wants them.
func (s *Server) DSN() string {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd = s.options.User, s.options.Password
	cfg.Net, cfg.Addr, cfg.DBName = "tcp", s.Addr(), Database
	return cfg.FormatDSN()
}

// Exec runs SQL statements. Values for ? can be given only to one statement.
func (s *Server) Exec(statements string, args ...any) error {
	_, err := s.db.Exec(statements, args...)
	return err
}

// Close ends all connections and the server. Further calls do nothing.
func (s *Server) Close() error { return s.close() }

func (s *Server) shutDown() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	s.listener.closeAll()
	<-s.served
	// Close reports that its background tasks were ended, as intended.
	if engineErr := s.server.Engine.Close(); err == nil && !errors.Is(engineErr, context.Canceled) {
		err = engineErr
	}
	return err
}
