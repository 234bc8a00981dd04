package userstore

import (
	"context"
	"slices"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// The tables of second factors for which codes can be checked (see factorModels),
// and that of django-otp's static tokens.
const (
	tableTOTP    = "otp_totp_totpdevice"
	tableStatic  = "otp_static_staticdevice"
	tableTokens  = "otp_static_statictoken"
	tableAllauth = "mfa_authenticator"
)

// Columns of these tables.
const (
	factorID       = "id"
	factorLastUsed = "last_used_at"
	factorFailed   = "throttling_failure_timestamp"
	factorFailures = "throttling_failure_count"
	factorData     = "data"
)

// forUpdate ends a statement that locks the rows that it reads.
const forUpdate = " FOR UPDATE"

// factorTable is a table of second factors, with its statements.
type factorTable struct {
	of     string // one of the constants
	isText bool   // users' keys are texts

	// precision has those of times; lastUsed is -1 without the column, which
	// django-otp has since version 1.4.
	precision struct{ failed, lastUsed int }

	lock, update *written
	updateUsed   *written // update, with last_used_at; nil if update has it, or there is none
	updateData   *written // of allauth

	lockTokens, deleteToken *written // of static tokens
}

// has reports whether factors of a kind are in the table.
func (t *factorTable) has(kind FactorKind) bool {
	switch kind {
	case TOTP:
		return t.of == tableTOTP
	case StaticTokens:
		return t.of == tableStatic
	}
	return t.of == tableAllauth
}

// askFor prepares for checking codes of a table's factors.
func (s *MySQL) askFor(ctx context.Context, b *builder, t related) error {
	if !s.needs.AskSecondFactors {
		return nil
	}
	f := &factorTable{of: t.name}
	f.precision.lastUsed = -1
	reads, writes := []string{factorFailed, factorFailures}, []string{factorFailed, factorFailures}
	where := " AND " + quote(factorConfirmed) + " IS TRUE"
	switch t.name {
	case tableTOTP:
		reads = append([]string{"key", "step", "t0", "digits", "tolerance", "drift", "last_t"}, reads...)
		writes = append([]string{"drift", "last_t"}, writes...)
	case tableStatic:
	case tableAllauth:
		reads, writes = []string{factorType, factorData}, nil
		where = " AND " + quote(factorType) + " IN ('totp', 'recovery_codes')"
	default:
		return nil
	}
	reads = append([]string{factorID}, reads...)
	if _, ok := t.find(factorLastUsed); ok || t.name == tableAllauth {
		reads, writes = append(reads, factorLastUsed), append(writes, factorLastUsed)
	}
	needs, err := s.needFactors(ctx, b, t, reads, writes)
	if err != nil {
		return err
	}
	f.setPrecision(t)
	user, _ := t.find(djangoUserColumn) // factorCondition has found it
	f.isText = user.isText()
	condition, err := s.ofKey(b, user)
	if err != nil {
		return err
	}
	add := func(statement string) *written {
		return b.writes(doingFactors, s.needs.insteadOfFactors("reject"), statement, *needs)
	}
	from := tableName{t.schema, t.name}.sql()
	f.lock = add("SELECT " + quoteAll(reads) + " FROM " + from + " WHERE " + condition + where + " ORDER BY " + quote(factorID) + forUpdate)
	update := func(columns ...string) *written {
		return add("UPDATE " + from + " SET " + strings.Join(eachQuoted(columns, " = ?"), ", ") + " WHERE " + quote(factorID) + " = ?")
	}
	switch used := f.precision.lastUsed >= 0; {
	case t.name == tableAllauth:
		f.update, f.updateData = update(factorLastUsed), update(factorData, factorLastUsed)
	case used:
		f.update, f.updateUsed = update(writes[:len(writes)-1]...), update(writes...)
	default:
		f.update = update(writes...)
	}
	if t.name == tableStatic {
		if err := s.askForTokens(ctx, b, t, f); err != nil {
			return err
		}
	}
	b.plan.factors = append(b.plan.factors, f)
	return nil
}

const doingFactors = "lock and write second factors, whose codes the login page asks for"

// eachQuoted quotes names, and appends a text to each.
func eachQuoted(names []string, behind string) []string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name) + behind
	}
	return quoted
}

// needFactors notes the columns of a table that are read and written. The error
// says what to grant.
func (s *MySQL) needFactors(ctx context.Context, b *builder, t related, reads, writes []string) (*relatedColumns, error) {
	needed := s.factorAccess(t.name, factorConfirmed)
	needed.schema, needed.columns, needed.updated = t.schema, append([]string{djangoUserColumn}, reads...), writes
	if t.name == tableAllauth {
		needed.updated = append(slices.Clone(writes), factorData)
	} else {
		needed.columns = append(needed.columns, factorConfirmed)
	}
	for _, name := range needed.columns {
		if _, ok := t.find(name); !ok {
			return nil, setting.Of("dsn", misfitf("%s has no column %s that the dsn's user may read, which checking codes takes: execute %s, or %s",
				t.table, name, s.grantTo(ctx, needed), s.needs.insteadOfFactors("reject")))
		}
		if _, err := t.column(b, name); err != nil {
			return nil, err
		}
	}
	access := t.access(b)
	access.updated = needed.updated
	return access, nil
}

// setPrecision notes the precisions of the table's times.
func (t *factorTable) setPrecision(columns related) {
	if c, ok := columns.find(factorFailed); ok {
		t.precision.failed = c.precision
	}
	if c, ok := columns.find(factorLastUsed); ok {
		t.precision.lastUsed = c.precision
	}
}

// ofKey is the condition that a row belongs to the user with a key. The parameters
// are those of plan.keyParams, twice for keys that are texts.
func (s *MySQL) ofKey(b *builder, user column) (string, error) {
	key, err := s.relationKey(b)
	if err != nil {
		return "", err
	}
	of := func(expression string) string {
		return "(SELECT " + expression + " FROM " + s.name.sql() + " WHERE " + strings.Join(s.keyConditions(b.plan), " AND ") + ")"
	}
	condition := quote(user.name) + " = " + of(quote(key.name))
	if user.isText() { // see sameKey
		condition += " AND " + textBytes(quote(user.name)) + " = " + of(textBytes(quote(key.name)))
	}
	return condition, nil
}

// askForTokens adds the statements for the tokens of static devices.
func (s *MySQL) askForTokens(ctx context.Context, b *builder, devices related, f *factorTable) error {
	of := tableName{devices.schema, tableTokens}
	needed := relatedColumns{tableName: of, columns: []string{factorID, "device_id", "token"}, deletes: true}
	lacks := func(err error) error {
		return setting.Of("dsn", misfitf("the dsn's user may not read the codes in table %q: execute %s, or %s (%w)",
			of.table, s.grantTo(ctx, needed), s.needs.insteadOfFactors("reject"), err))
	}
	tokens, err := s.lookAtRelated(ctx, b, of.sql())
	switch {
	case isHidden(err):
		return lacks(err)
	case err != nil:
		return err
	}
	for _, name := range needed.columns {
		if _, ok := tokens.find(name); !ok {
			return lacks(tokens.lacks(name, "grant SELECT on it"))
		}
		if _, err := tokens.column(b, name); err != nil {
			return err
		}
	}
	tokens.access(b).deletes = true
	from := needed.sql()
	f.lockTokens = b.writes(doingFactors, s.needs.insteadOfFactors("reject"),
		"SELECT `id`, `token` FROM "+from+" WHERE `device_id` = ? ORDER BY `id`"+forUpdate, needed)
	f.deleteToken = b.writes(doingFactors, s.needs.insteadOfFactors("reject"), "DELETE FROM "+from+" WHERE `id` = ?", needed)
	return nil
}
