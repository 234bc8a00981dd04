package userstore

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
)

// known are the tables that open stores of this process have found as they should be.
// During a reload the stores of both configurations are open: so a store that the
// reload doesn't change opens also while MySQL gives no answer.
var known = struct {
	mu     sync.Mutex
	tables map[poolKey]*knownTable
}{tables: make(map[poolKey]*knownTable)}

// knownTable is what the stores of one configuration have found.
type knownTable struct {
	schema Schema
	stores int // that are open
}

// use has a store use a plan from now on, and other stores know its table.
func (s *MySQL) use(p *plan) {
	s.plan.Store(p)
	if s.isReplica {
		return // a replica that doesn't answer keeps no store from opening
	}
	known.mu.Lock()
	defer known.mu.Unlock()
	table := known.tables[s.identity]
	if table == nil {
		table = new(knownTable)
		known.tables[s.identity] = table
	}
	table.schema = p.schema
	s.noteKnown(table)
}

// recall takes over what another open store with the same configuration has found out
// about the table. It reports whether there is such a store.
func (s *MySQL) recall() bool {
	known.mu.Lock()
	defer known.mu.Unlock()
	table := known.tables[s.identity]
	if table == nil {
		return false
	}
	schema := table.schema
	s.recalled.Store(&schema)
	s.noteKnown(table)
	return true
}

// noteKnown counts the store among those that know a table. The caller holds the lock.
func (s *MySQL) noteKnown(table *knownTable) {
	if !s.knowsTable {
		s.knowsTable = true
		table.stores++
	}
}

// forget ends what a store knows.
func (s *MySQL) forget() {
	known.mu.Lock()
	defer known.mu.Unlock()
	if !s.knowsTable {
		return
	}
	s.knowsTable = false
	table := known.tables[s.identity]
	if table.stores--; table.stores == 0 {
		delete(known.tables, s.identity)
	}
}

// identify returns a hash of everything that a store is configured by.
func (s *MySQL) identify() (poolKey, error) {
	type via struct {
		Name, Table, Column, User, Until string
		Fields                           []Field
		Reads                            []string
		Extends                          bool
	}
	var vias []via
	for _, v := range s.needs.Vias {
		vias = append(vias, via{v.Name, v.Table, v.Column, v.User, v.Until, v.Fields, v.Reads, v.Extends})
	}
	return hashOf(s.cfg, s.databases, s.needs, vias)
}

// hashOf returns a hash of a store's configuration without its vias, of the databases that
// its files named when it was opened, and of more. It reveals no secret.
func hashOf(cfg Config, databases []string, needs Needs, more any) (poolKey, error) {
	text, err := json.Marshal(struct {
		Store                     Config
		PrimaryKeyField, TimeZone string
		UseTZ                     *bool
		Databases                 []string
		Needs                     Needs
		More                      any
	}{cfg, cfg.PrimaryKeyField, cfg.TimeZone, cfg.UseTZ, databases, needs, more})
	if err != nil {
		return poolKey{}, fmt.Errorf("comparing configurations: %w", err)
	}
	hash := sha256.Sum256(text)
	clear(text) // the DSN's password
	return hash, nil
}
