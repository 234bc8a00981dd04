package userstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Tokens hold all that they are checked by, so that ending one before its time
// needs a list of those that are ended. It is a table beside the users', read
// in the query that reads the user.

// RevocationsTable is the statement that makes the table of ended tokens.
//
// user_key is the primary key's text, or its hexadecimal digits where it is
// binary. fingerprint is token.Parsed.Fingerprint, or empty for all tokens and
// sessions from up to the time in revoked. Rows are good for nothing after
// expires; NULL is never. Times are in UTC.
func RevocationsTable(name string) (string, error) {
	table, err := parseTable(name)
	if err != nil {
		return "", err
	}
	return "CREATE TABLE " + table.sql() + ` (
  user_key varbinary(255) NOT NULL,
  fingerprint varbinary(10) NOT NULL,
  revoked datetime NOT NULL,
  expires datetime NULL,
  PRIMARY KEY (user_key, fingerprint)
);`, nil
}

// revocationColumns are those of the table.
var revocationColumns = []string{"user_key", "fingerprint", "revoked", "expires"}

// errNoRevocations is a mistake in the calling code or in the configuration.
var errNoRevocations = errors.New("the option revocations of userstore names no table")

// chooseRevocations has the SELECT read what of the user's is ended: the number
// of entries, a colon, and the entries.
func (s *MySQL) chooseRevocations(b *builder) error {
	b.plan.revocations = -1
	if s.cfg.Revocations == "" {
		return nil
	}
	list, err := parseTable(s.cfg.Revocations)
	if err != nil {
		return misfitf("revocations: %w", err)
	}
	b.plan.revocations = b.add("(SELECT CONCAT(COUNT(*), ':', COALESCE(GROUP_CONCAT(" +
		"IF(r.fingerprint = '', CONCAT('@', UNIX_TIMESTAMP(r.revoked)), HEX(r.fingerprint))), ''))" +
		" FROM " + list.sql() + " AS r WHERE r.user_key = " + s.keyText(b) +
		" AND (r.expires IS NULL OR r.expires > UTC_TIMESTAMP()))")
	return nil
}

// keyText is the expression for a row's user_key.
func (s *MySQL) keyText(b *builder) string {
	c, _ := b.table.find(b.plan.key.name)
	name := s.name.sql() + "." + quote(c.name)
	if c.isBinary() {
		return "CAST(HEX(" + name + ") AS BINARY)"
	}
	return "CAST(CAST(" + name + " AS CHAR CHARACTER SET utf8mb4) AS BINARY)"
}

// checkRevocations says what to do where the table isn't there, or isn't the
// one.
func (s *MySQL) checkRevocations(ctx context.Context) error {
	if s.cfg.Revocations == "" {
		return nil
	}
	list, err := parseTable(s.cfg.Revocations)
	if err != nil {
		return misfitf("revocations: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	rows, err := s.pool.db.QueryContext(ctx, "SELECT "+strings.Join(revocationColumns, ", ")+" FROM "+list.sql()+" LIMIT 0")
	if err != nil {
		if _, setup := advice(numberOf(err)); setup {
			return misfitf("revocations: the table %s can't be read: make it with the statement that "+
				"caddy sesame check --create prints, and grant the dsn's user SELECT on it: %w", s.cfg.Revocations, err)
		}
		return err
	}
	defer rows.Close()
	return rows.Err()
}

// readRevocations takes what of the user's is ended from a row.
func (u *User) readRevocations(p *plan, r *row, copies *texts) error {
	raw := r.get(p.revocations)
	if p.revocations < 0 || string(raw) == "0:" {
		return nil
	}
	if err := checkEntries(string(raw)); err != nil {
		return err
	}
	_, u.revocations, _ = strings.Cut(copies.add(raw), ":")
	return nil
}

// checkEntries makes sure that a list came whole: MySQL cuts at
// group_concat_max_len, and what is cut off would be valid again.
func checkEntries(text string) error {
	number, entries, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(number)
	if err != nil || entries != "" && strings.Count(entries, ",")+1 != n || entries == "" && n != 0 {
		return misfitf("too many of one user's tokens are revoked to be read: raise the server's group_concat_max_len")
	}
	for entry := range strings.SplitSeq(entries, ",") {
		if entry != "" && !strings.HasPrefix(entry, "@") && len(entry) != 20 {
			return misfitf("an entry of the revoked tokens is cut: raise the server's group_concat_max_len")
		}
	}
	return nil
}

// IsRevoked reports whether a token or session of the user was ended before its
// time. A session has no fingerprint, and some tokens have no time.
func (u *User) IsRevoked(fingerprint string, created time.Time) bool {
	for entry := range strings.SplitSeq(u.revocations, ",") {
		since, isAll := strings.CutPrefix(entry, "@")
		switch {
		case entry == "":
		case isAll && !created.IsZero():
			// Whoever can't read it ends all: it is the safe side.
			if until, err := strconv.ParseInt(since, 10, 64); err != nil || created.Unix() <= until {
				return true
			}
		case strings.EqualFold(entry, fingerprint):
			return true
		}
	}
	return false
}

// HasRevocations reports whether IsRevoked can be true.
func (u *User) HasRevocations() bool { return u.revocations != "" }

// Revoke ends a token of a user, by its fingerprint, until the time at which it
// would have expired; the zero time is never.
func (s *MySQL) Revoke(ctx context.Context, u *User, fingerprint string, expires time.Time) error {
	raw, err := hex.DecodeString(fingerprint)
	if err != nil || len(raw) == 0 {
		return fmt.Errorf("%q is no fingerprint of a token", fingerprint)
	}
	return s.revoke(ctx, u, raw, expires)
}

// RevokeAll ends all sessions of a user from up to now, and all tokens that
// have a time, until the last of them would have expired.
func (s *MySQL) RevokeAll(ctx context.Context, u *User, expires time.Time) error {
	return s.revoke(ctx, u, []byte{}, expires)
}

func (s *MySQL) revoke(ctx context.Context, u *User, fingerprint []byte, expires time.Time) error {
	const doing = "revoking"
	p, err := s.ready(ctx)
	if err != nil {
		return err
	}
	if p.revokeSQL == "" {
		return errNoRevocations
	}
	key, ok := p.key.param(u.PrimaryKey)
	if !ok {
		return unavailable(doing, p.key.check(u.PrimaryKey.Kind()))
	}
	var until any
	if !expires.IsZero() {
		until = expires.UTC().Add(time.Second).Format("2006-01-02 15:04:05")
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	result, err := s.pool.db.ExecContext(ctx, p.revokeSQL, fingerprint, until, key)
	if err != nil {
		return s.failed(ctx, doing, err)
	}
	if changed, err := result.RowsAffected(); err != nil || changed == 0 {
		return errors.Join(ErrNotFound, err)
	}
	// What has expired is of no use. That it stays is no harm.
	_, _ = s.pool.db.ExecContext(ctx, p.forgetSQL)
	return nil
}

// revokeStatements are for revoke.
func (s *MySQL) revokeStatements(b *builder) (revoke, forget string) {
	if s.cfg.Revocations == "" {
		return "", ""
	}
	list, _ := parseTable(s.cfg.Revocations) // chooseRevocations has seen it
	revoke = "REPLACE INTO " + list.sql() + " (user_key, fingerprint, revoked, expires) SELECT " + s.keyText(b) +
		", ?, UTC_TIMESTAMP(), ? FROM " + s.name.sql() + " WHERE " + quote(b.plan.key.name) +
		" = ?"
	return revoke, "DELETE FROM " + list.sql() + " WHERE expires < UTC_TIMESTAMP()"
}
