package userstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/otp"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// FactorKind is a sort of second factor for which a code can be checked.
type FactorKind string

// The kinds, by the library whose rows they are, and the code.
const (
	TOTP            FactorKind = "totp"             // of django-otp
	StaticTokens    FactorKind = "static"           // of django-otp
	AllauthTOTP     FactorKind = "allauth_totp"     // of allauth
	AllauthRecovery FactorKind = "allauth_recovery" // of allauth
)

// Factor is a row with a second factor of a user.
type Factor struct {
	Kind FactorKind

	// Device is the row of a TOTP, and Throttle the part of it that StaticTokens
	// have, too.
	Device otp.TOTPDevice
	otp.Throttle

	// Tokens are the texts of StaticTokens. Spend has one of them deleted.
	Tokens []string

	// Data is allauth's column of that name.
	Data string

	// LastUsed is when the factor was used last, as far as that is known.
	LastUsed *time.Time

	id        int64
	tokens    []int64    // the keys of Tokens
	spent     int        // the index of the token to delete, or -1
	usedAt    *time.Time // new value of last_used_at; nil leaves it
	isChanged bool
}

// Change has the factor's row written, with what the caller has changed.
func (f *Factor) Change() { f.isChanged = true }

// Use has the row written, with the time at which the factor was used.
func (f *Factor) Use(now time.Time) { f.isChanged, f.usedAt = true, &now }

// Spend has one of the Tokens deleted.
func (f *Factor) Spend(token int) { f.isChanged, f.spent = true, token }

// errNoFactors is a mistake in the calling code, not in the configuration.
var errNoFactors = errors.New("the store was opened without Needs.AskSecondFactors")

// errUnlocked says that a row changed under a lock, which a server never does.
var errUnlocked = errors.New("a second factor's row changed though it was locked")

// Factors reads the second factors of the user with a key, from the primary server.
func (s *MySQL) Factors(ctx context.Context, user token.PrimaryKey) ([]*Factor, error) {
	const doing = "reading second factors"
	p, key, err := s.factorsOf(ctx, user, doing)
	if err != nil {
		return nil, err
	}
	if err := s.mayRead(doing); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, s.failed(ctx, doing, err)
	}
	before := s.pool.breaker.answers.Load()
	limited, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadlineOf(ctx, s.timeout))
	defer cancel()
	factors, err := s.readFactors(limited, p, nil, key)
	s.heard(ctx, before, err)
	if err != nil {
		return nil, s.failed(ctx, doing, withoutValues(err))
	}
	return factors, nil
}

// UseFactors calls use with a user's second factors, which are locked on the primary
// server, and writes those that use changes. Of all requests that use one
// code, over any number of gateways, one finds it unused: only after UseFactors has
// returned no error does the code count.
//
// use is called again if the server has undone the transaction for the sake of
// others: its last call counts.
func (s *MySQL) UseFactors(ctx context.Context, user token.PrimaryKey, use func(factors []*Factor)) error {
	const doing = "using a second factor"
	p, key, err := s.factorsOf(ctx, user, doing)
	if err != nil {
		return err
	}
	return s.write(ctx, doing, func(ctx context.Context) error {
		tx, err := s.pool.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // it is over, or the error is known
		factors, err := s.readFactors(ctx, p, tx, key)
		if err != nil {
			return err
		}
		use(factors)
		for _, f := range factors {
			if !f.isChanged {
				continue
			}
			if err := s.writeFactor(ctx, p, tx, f); err != nil {
				return err
			}
		}
		return tx.Commit()
	})
}

// factorsOf returns the plan, and the parameters for a user's key.
func (s *MySQL) factorsOf(ctx context.Context, user token.PrimaryKey, doing string) (*plan, []any, error) {
	p, err := s.ready(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !s.needs.AskSecondFactors || s.isReplica {
		return nil, nil, unavailable(doing, errNoFactors)
	}
	if err := p.key.check(user.Kind()); err != nil {
		return nil, nil, unavailable(doing, err)
	}
	key, ok := p.keyParams(&User{PrimaryKey: user})
	if !ok {
		return nil, nil, ErrNotFound
	}
	return p, key, nil
}

// readFactors reads a user's second factors, with locks if there is a transaction.
func (s *MySQL) readFactors(ctx context.Context, p *plan, tx *sql.Tx, key []any) ([]*Factor, error) {
	var all []*Factor
	for _, t := range p.factors {
		factors, err := t.read(ctx, s, tx, key)
		if err != nil {
			return nil, err
		}
		all = append(all, factors...)
	}
	return all, nil
}

// writeFactor writes a factor's row.
func (s *MySQL) writeFactor(ctx context.Context, p *plan, tx *sql.Tx, f *Factor) error {
	for _, t := range p.factors {
		if t.has(f.Kind) {
			return t.write(ctx, s, tx, f)
		}
	}
	return errNoFactors // unreachable: a table of the plan has read it
}

// query executes a statement that reads rows, within a transaction if there is one.
func (t *factorTable) query(ctx context.Context, s *MySQL, tx *sql.Tx, locking *written, args []any, scan func(*sql.Rows) error) error {
	var rows *sql.Rows
	var err error
	if tx != nil {
		rows, err = tx.StmtContext(ctx, locking.statement).QueryContext(ctx, args...) //nolint:sqlclosecheck // the end of the transaction closes it
	} else {
		rows, err = s.pool.db.QueryContext(ctx, locking.sql[:len(locking.sql)-len(forUpdate)], args...)
	}
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// read reads the rows of a user.
func (t *factorTable) read(ctx context.Context, s *MySQL, tx *sql.Tx, key []any) ([]*Factor, error) {
	var factors []*Factor
	args := append([]any(nil), key...)
	if t.isText { // the user's key is compared twice
		args = append(args, key...)
	}
	err := t.query(ctx, s, tx, t.lock, args, func(rows *sql.Rows) error {
		f, err := t.scan(rows, s.location)
		if err != nil {
			return err
		}
		factors = append(factors, f)
		return nil
	})
	if err != nil || t.lockTokens == nil {
		return factors, err
	}
	for _, f := range factors {
		err := t.query(ctx, s, tx, t.lockTokens, []any{f.id}, func(rows *sql.Rows) error {
			var id int64
			var text string
			if err := rows.Scan(&id, &text); err != nil {
				return fmt.Errorf("reading static tokens: %w", err)
			}
			f.tokens, f.Tokens = append(f.tokens, id), append(f.Tokens, text)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return factors, nil
}

// scan reads a row.
func (t *factorTable) scan(rows *sql.Rows, location *time.Location) (*Factor, error) {
	f := &Factor{spent: -1}
	var failed, lastUsed sql.NullString
	var kind string
	into := []any{&f.id}
	switch t.of {
	case tableTOTP:
		f.Kind = TOTP
		d := &f.Device
		into = append(into, &d.Key, &d.Step, &d.T0, &d.Digits, &d.Tolerance, &d.Drift, &d.LastT, &failed, &f.FailureCount)
	case tableStatic:
		f.Kind = StaticTokens
		into = append(into, &failed, &f.FailureCount)
	case tableAllauth:
		into = append(into, &kind, &f.Data)
	}
	if t.precision.lastUsed >= 0 {
		into = append(into, &lastUsed)
	}
	if err := rows.Scan(into...); err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.of, err)
	}
	switch kind {
	case "totp":
		f.Kind = AllauthTOTP
	case "recovery_codes":
		f.Kind = AllauthRecovery
	}
	var err error
	if f.FailureTimestamp, err = latestOf(failed, location); err != nil {
		return nil, err
	}
	f.Device.Throttle = f.Throttle
	f.LastUsed, err = latestOf(lastUsed, location)
	return f, err
}

// latestOf returns the time in a column, nil for NULL. If the zone's clocks are put
// back, a reading is that of two times: the later one counts, so that no code is
// accepted again, and no lock ends early.
func latestOf(text sql.NullString, location *time.Location) (*time.Time, error) {
	if !text.Valid {
		return nil, nil
	}
	read, ok, err := parseLastLogin(text.String)
	if err != nil {
		return nil, errors.New("a time of a second factor isn't a date and time")
	}
	if !ok {
		return nil, nil
	}
	reads := func(zone *time.Location) time.Time {
		return time.Date(read.Year(), read.Month(), read.Day(), read.Hour(), read.Minute(), read.Second(), read.Nanosecond(), zone)
	}
	at := reads(location)
	for _, after := range []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour} {
		if later := at.Add(after).In(location); later.Format(microseconds) == at.Format(microseconds) {
			at = later
			break
		}
	}
	return new(at.UTC()), nil
}

// write writes a factor that was read with locks.
func (t *factorTable) write(ctx context.Context, s *MySQL, tx *sql.Tx, f *Factor) error {
	var args []any
	update := t.update
	switch t.of {
	case tableTOTP:
		args = append(args, f.Device.Drift, f.Device.LastT)
		f.Throttle = f.Device.Throttle
		args = append(args, t.failedText(s, f), f.FailureCount)
	case tableStatic:
		args = append(args, t.failedText(s, f), f.FailureCount)
	case tableAllauth:
		if f.Kind == AllauthRecovery {
			args, update = append(args, f.Data), t.updateData
		}
	}
	if f.usedAt != nil && t.precision.lastUsed >= 0 {
		args = append(args, timeText(s.columnTime(*f.usedAt), t.precision.lastUsed))
		if t.updateUsed != nil {
			update = t.updateUsed
		}
	}
	if _, err := update.exec(ctx, tx, append(args, f.id)); err != nil {
		return err
	}
	if f.spent < 0 {
		return nil
	}
	deleted, err := t.deleteToken.exec(ctx, tx, []any{f.tokens[f.spent]})
	if err == nil && deleted != 1 {
		err = errUnlocked
	}
	return err
}

// failedText is the time of the last failure as its column has it.
func (t *factorTable) failedText(s *MySQL, f *Factor) any {
	if f.FailureTimestamp == nil {
		return nil
	}
	return timeText(s.columnTime(*f.FailureTimestamp), t.precision.failed)
}
