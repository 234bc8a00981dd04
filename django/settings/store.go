package settings

import (
	"strconv"
	"strings"
)

// store writes where the users are.
func (b *block) store() error {
	write, err := b.writeDatabase()
	if err != nil {
		return err
	}
	if err := write.checkEngine(); err != nil {
		return err
	}
	tls := b.tls(write)
	dsn, err := b.dsn(write, dsnNames{envDBPassword, envDSN}, tls)
	if err != nil {
		return err
	}
	b.option("userstore mysql", "{")
	b.lines = append(b.lines, "\t\tdsn "+dsn)
	b.replicas(write, tls)
	for _, file := range []struct{ option, path string }{{"tls_ca", tls.ca}, {"tls_cert", tls.cert}, {"tls_key", tls.key}} {
		if file.path == "" {
			continue
		}
		if err := b.storeWord(write.label("OPTIONS"), file.option, file.path); err != nil {
			return err
		}
	}
	b.noteZone(write)
	if err := b.table(write); err != nil {
		return err
	}
	b.option("}")
	return nil
}

// writeDatabase is the database that Django writes users to.
func (b *block) writeDatabase() (*database, error) {
	if b.databases.write != nil {
		return b.databases.write, nil
	}
	databases, ok := b.settings["DATABASES"].(pyDict)
	if !ok {
		return nil, problem("DATABASES", "it isn't there, or can't be read; give the output of diffsettings --all")
	}
	settings, ok := databases["default"].(pyDict)
	if !ok {
		return nil, problem("DATABASES", "there is no default database in it")
	}
	if routers, ok := b.settings["DATABASE_ROUTERS"].([]any); ok && len(routers) > 0 {
		b.undecide("DATABASE_ROUTERS", "users may be in another database than the default one, which was assumed. "+giveScript)
	}
	return newDatabase("default", settings), nil
}

// replicas writes the databases that Django only reads users from.
func (b *block) replicas(write *database, tls *tlsOptions) {
	var dsns []string
	server, _ := b.quietly().address(write)
	name, _ := write.text("NAME", "db", "database")
	for _, read := range b.databases.reads {
		leaveOut := func(why string) {
			b.note(read.label(), "Django reads users from this database, and the gateway reads them from %s: %s", write.label(), why)
		}
		readServer, err := b.quietly().address(read)
		readName, _ := read.text("NAME", "db", "database")
		switch {
		case err != nil || read.checkEngine() != nil:
			leaveOut("this one can't be a replica for the option replica of userstore")
			continue
		case readServer == server && readName == name:
			continue // the same database by another alias
		case readName != name:
			leaveOut("a replica has the same database, and this one has another NAME")
			continue
		}
		readTLS := b.quietly().tls(read)
		if readTLS.ca != tls.ca || readTLS.cert != tls.cert || readTLS.key != tls.key {
			leaveOut("the options tls_ca, tls_cert and tls_key are the same for all servers, and OPTIONS are different here")
			continue
		}
		names := dsnNames{envReplicaPassword, envReplicaDSN}
		if n := len(dsns); n > 0 {
			suffix := "_" + strconv.Itoa(n+1)
			names = dsnNames{envReplicaPassword + suffix, envReplicaDSN + suffix}
		}
		dsn, err := b.dsn(read, names, readTLS)
		if err != nil {
			leaveOut(err.Error())
			continue
		}
		dsns = append(dsns, dsn)
	}
	if len(dsns) > 0 {
		b.lines = append(b.lines, "\t\treplica "+strings.Join(dsns, " "))
	}
}

// quietly returns a block to be discarded, for remarks that are made elsewhere, or
// not at all.
func (b *block) quietly() *block { return &block{Project: b.Project} }

// storeWord writes an option of the store.
func (b *block) storeWord(setting, option, value string) error {
	quoted, err := quote(value)
	if err != nil {
		return problem(setting, "%s %q: %w: give it another name, for example in a view", option, value, err)
	}
	b.lines = append(b.lines, "\t\t"+option+" "+quoted)
	return nil
}

// noteZone is about times that aren't in UTC.
func (b *block) noteZone(d *database) {
	if zone, ok := d.settings["TIME_ZONE"].(string); ok && zone != "UTC" {
		b.note(d.label("TIME_ZONE"), "the database holds times of the zone %s, which the gateway would take for UTC: tokens with one_time won't be accepted, and last_login is written in UTC", strconv.Quote(zone))
	}
}
