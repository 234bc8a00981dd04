package userstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// A token holds all that it is checked by, so ending one early needs a list of
// revoked tokens. The list is a table beside the users', and is read in the query
// that reads the user.

// RevocationsTable is the statement that makes the table of ended tokens.
//
// user_key is the primary key's text, or its hexadecimal digits where it is binary.
// fingerprint is token.Parsed.Fingerprint, or empty for all tokens and sessions
// from up to the time in revoked. Rows have no effect after expires; NULL is never.
// Times are in UTC, by the gateway's clock, which issues tokens: the database's
// clock may differ.
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

// revocationColumns are the columns of the table.
var revocationColumns = []string{"user_key", "fingerprint", "revoked", "expires"}

// errNoRevocations is a mistake in the calling code or in the configuration.
var errNoRevocations = errors.New("the option revocations of userstore names no table")

// chooseRevocations adds the user's revocations to the SELECT: the number of
// entries, a colon, and the entries, each with a dot behind it. An entry is the
// fingerprint in hexadecimal digits, or @ and the Unix time up to which everything
// is revoked; then a slash, and the Unix time at which the entry expires, or
// nothing for never.
func (s *MySQL) chooseRevocations(b *builder) error {
	b.plan.revocations = -1
	if s.cfg.Revocations == "" {
		return nil
	}
	list, err := parseTable(s.cfg.Revocations)
	if err != nil {
		return setting.In("revocations", misfitf("%w", err))
	}
	s.followRevocations(b, list)
	b.plan.revocations = b.add("(" + selectPerRow + " CONCAT(COUNT(*), ':', COALESCE(GROUP_CONCAT(CONCAT(" +
		"IF(r.fingerprint = '', CONCAT('@', COALESCE(" + unixTime("r.revoked") + ", 0)), HEX(r.fingerprint)), '/', " +
		"COALESCE(" + unixTime("r.expires") + ", ''), '.') SEPARATOR ''), ''))" +
		" FROM " + list.sql() + " AS r WHERE r.user_key = " + s.keyText(b) + ")")
	return nil
}

// unixTime is the expression for a DATETIME in UTC as a Unix time.
// UNIX_TIMESTAMP would end in 2038.
func unixTime(column string) string { return "TIMESTAMPDIFF(SECOND, '1970-01-01', " + column + ")" }

// keyText is the expression for a row's user_key.
func (s *MySQL) keyText(b *builder) string {
	c, _ := b.table.find(b.plan.key.name)
	name := s.name.sql() + "." + quote(c.name)
	if c.isBinary() {
		return "CAST(HEX(" + name + ") AS BINARY)"
	}
	return "CAST(CAST(" + name + " AS CHAR CHARACTER SET utf8mb4) AS BINARY)"
}

// checkRevocations says what to do if the table is missing, or has other columns.
func (s *MySQL) checkRevocations(ctx context.Context) error {
	if s.cfg.Revocations == "" {
		return nil
	}
	list, err := parseTable(s.cfg.Revocations)
	if err != nil {
		return setting.In("revocations", misfitf("%w", err))
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	rows, err := s.pool.db.QueryContext(ctx, "SELECT "+strings.Join(revocationColumns, ", ")+" FROM "+list.sql()+" LIMIT 0")
	if err != nil {
		if _, setup := advice(numberOf(err)); setup {
			advice := "make it with the statement that caddy sesame check --create prints, and grant the dsn's user SELECT on it"
			if numberOf(err) == erUnknownColumn {
				advice = "it is a table with other columns: name the one that was made with the statement that caddy sesame check --create prints"
			}
			return setting.Errorf("revocations", "%w", misfitf("revocations: the table %s can't be read: %s: %w", s.cfg.Revocations, advice, err))
		}
		return err
	}
	defer rows.Close()
	return rows.Err()
}

// readRevocations reads the user's revocations from a row.
func (u *User) readRevocations(p *plan, r *row) error {
	raw := r.get(p.revocations)
	if p.revocations < 0 || string(raw) == "0:" {
		return nil
	}
	entries, err := parseEntries(string(raw), time.Now())
	u.revocations = entries
	return err
}

// parseEntries reads a user's revocations, and makes sure that the list is
// complete: MySQL cuts it at group_concat_max_len, and tokens in the cut part would
// be valid again. It returns the entries that haven't expired, with commas between
// them.
func parseEntries(text string, now time.Time) (string, error) {
	errCut := misfitf("too many of one user's tokens are revoked to be read: raise the server's group_concat_max_len")
	number, list, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(number)
	if err != nil || strings.Count(list, ".") != n || list != "" && list[len(list)-1] != '.' {
		return "", errCut
	}
	var entries []string
	for entry := range strings.SplitSeq(strings.TrimSuffix(list, "."), ".") {
		what, expires, isWhole := strings.Cut(entry, "/")
		if list != "" && !isWhole {
			return "", errCut
		}
		// An entry with an unreadable time stays in effect, to be safe.
		if at, err := strconv.ParseInt(expires, 10, 64); err == nil && at <= now.Unix() {
			continue
		}
		entries = append(entries, what)
	}
	return strings.Join(entries, ","), nil
}

// IsRevoked reports whether a token or session of the user was ended before its
// time. A session has no fingerprint, and some tokens have no time.
func (u *User) IsRevoked(fingerprint string, created time.Time) bool {
	for entry := range strings.SplitSeq(u.revocations, ",") {
		since, isAll := strings.CutPrefix(entry, "@")
		switch {
		case entry == "":
		case isAll && !created.IsZero():
			// An unreadable entry revokes everything, to be safe.
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

// RevocationMargin is added to now by RevokeAll: the clocks of gateways and Django
// apps that issue tokens differ by less. Users who log in within the margin have to
// do so again.
const RevocationMargin = 5 * time.Second

// forgetMargin is how long an entry is kept after its end, because another
// gateway's clock may be behind.
const forgetMargin = 10 * time.Minute

// ErrNoEffect says that an entry was written, but can't be read with the user. The
// token may still be valid.
var ErrNoEffect = errors.New("the entry was written, but has no effect: see that the option revocations names the same table everywhere, " +
	"and that the user's key is the same text in both tables")

// Revoke ends a token of a user, by its fingerprint, until the token would have
// expired; the zero time means never. It returns after the primary server was asked
// for the user again, and has the entry.
func (s *MySQL) Revoke(ctx context.Context, u *User, fingerprint string, expires time.Time) error {
	raw, err := hex.DecodeString(fingerprint)
	if err != nil || len(raw) == 0 {
		return fmt.Errorf("%q is no fingerprint of a token", fingerprint)
	}
	now := time.Now()
	if err := s.revoke(ctx, u, raw, now, expires); err != nil {
		return err
	}
	if !expires.IsZero() && expires.Before(now) {
		return nil // it has ended by itself
	}
	return s.wantRevoked(ctx, u, fingerprint, time.Time{})
}

// RevokeAll ends all sessions of a user, and all tokens with a time, from before
// the time that it returns: RevocationMargin from now, by the clock of this
// process, which issues them, and not the database's. The entry is kept until the
// last of them would have expired. RevokeAll returns after the primary server was
// asked for the user again, and has the entry.
func (s *MySQL) RevokeAll(ctx context.Context, u *User, expires time.Time) (until time.Time, err error) {
	until = time.Now().Add(RevocationMargin).Truncate(time.Second)
	if err := s.revoke(ctx, u, []byte{}, until, expires.Add(RevocationMargin)); err != nil {
		return until, err
	}
	return until, s.wantRevoked(ctx, u, "", until)
}

// wantRevoked returns an error if an entry has no effect.
func (s *MySQL) wantRevoked(ctx context.Context, u *User, fingerprint string, created time.Time) error {
	now, err := s.lookupAlone(ctx, u.PrimaryKey)
	if err != nil {
		return fmt.Errorf("the entry was written, and whether it has its effect isn't known: %w", err)
	}
	if !now.IsRevoked(fingerprint, created) {
		return ErrNoEffect
	}
	return nil
}

// revoke writes an entry.
func (s *MySQL) revoke(ctx context.Context, u *User, fingerprint []byte, revoked, expires time.Time) error {
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
	var end any
	if !expires.IsZero() {
		end = expires.UTC().Add(time.Second).Format(wholeSeconds)
	}
	var changed int64
	err = s.write(ctx, doing, func(ctx context.Context) error {
		result, err := s.pool.db.ExecContext(ctx, p.revokeSQL, fingerprint, revoked.UTC().Format(wholeSeconds), end, fingerprint, key)
		if err != nil {
			return err
		}
		changed, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return err
	}
	if changed == 0 {
		return ErrNotFound
	}
	// Deleting expired entries is only tidying: a failure does no harm.
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, _ = s.pool.db.ExecContext(limited, p.forgetSQL, time.Now().UTC().Add(-forgetMargin).Format(wholeSeconds))
	return nil
}

// revokeStatements returns the statements for revoke. They never weaken an existing
// entry, because another clock may have written it.
func (s *MySQL) revokeStatements(b *builder) (revoke, forget string) {
	if s.cfg.Revocations == "" {
		return "", ""
	}
	list, _ := parseTable(s.cfg.Revocations) // chooseRevocations has seen it
	key := s.keyText(b)
	revoke = "REPLACE INTO " + list.sql() + " (user_key, fingerprint, revoked, expires) SELECT " + key +
		", ?, GREATEST(CAST(? AS DATETIME), CAST(COALESCE(r.revoked, '1000-01-01') AS DATETIME))" +
		", IF(r.user_key IS NOT NULL AND r.expires IS NULL, NULL, GREATEST(CAST(? AS DATETIME), CAST(COALESCE(r.expires, '1000-01-01') AS DATETIME)))" +
		" FROM " + s.name.sql() + " LEFT JOIN " + list.sql() + " AS r ON r.user_key = " + key + " AND r.fingerprint = ?" +
		" WHERE " + s.name.sql() + "." + quote(b.plan.key.name) + " = ?"
	return revoke, "DELETE FROM " + list.sql() + " WHERE expires < ?"
}
