package userstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Users' second factors are in tables of their own, one for each kind of device.
// Whether a user has one is read in the query that reads the user: the right
// password must not be enough if Django would ask for more.

// factorModel is a Django model whose rows are second factors.
type factorModel struct{ app, model string }

// table is what Django calls the model's table.
func (m factorModel) table() string { return m.app + "_" + m.model }

// factorModels are those of django-otp and of packages with devices for it
// (subclasses of django_otp.models.Device), and of django-allauth.
var factorModels = []factorModel{
	{"otp_totp", "totpdevice"},
	{"otp_hotp", "hotpdevice"},
	{"otp_static", "staticdevice"},
	{"otp_email", "emaildevice"},
	{"otp_twilio", "twiliosmsdevice"},
	{"otp_yubikey", "yubikeydevice"},
	{"otp_yubikey", "remoteyubikeydevice"},
	{"two_factor", "phonedevice"},
	{"django_otp_webauthn", "webauthncredential"},
	{"mfa", "authenticator"},
}

// IsSecondFactor reports whether a table is one that the store reads second factors
// from by default.
func IsSecondFactor(table string) bool {
	return slices.ContainsFunc(factorModels, func(m factorModel) bool { return m.table() == table })
}

// The columns of second factors. Foreign keys to the model of users are called
// user in all of these models, whatever that model is called.
const (
	factorConfirmed = "confirmed" // django-otp's Device
	factorType      = "type"      // allauth's Authenticator
	djangoModel     = "model"     // of a content type
)

// allauthFactors are the types of authenticators for which allauth asks at a
// login (allauth.mfa.stages.AuthenticateStage). Recovery codes alone are none.
const allauthFactors = "'totp', 'webauthn'"

// aliasFactor is the name of a table of second factors in its query.
const aliasFactor = "`sesame factor`"

// HasSecondFactor reports whether the user has a second factor for which Django
// asks after the password: a confirmed device of django-otp, or an authenticator of
// allauth's that isn't a list of recovery codes. It is false without
// Needs.SecondFactors.
func (u *User) HasSecondFactor() bool { return u.hasSecondFactor }

// chooseSecondFactors adds to the SELECT whether the user has a second factor.
func (s *MySQL) chooseSecondFactors(ctx context.Context, b *builder) error {
	b.plan.secondFactor = -1
	if !s.needs.SecondFactors {
		return nil
	}
	tables, err := s.lookAtSecondFactors(ctx, b)
	if err != nil {
		return setting.Elsewhere(s.needs.secondFactorOption(), err)
	}
	var exist []string
	for _, t := range tables {
		condition, err := s.factorCondition(ctx, b, t)
		if err != nil {
			return setting.Elsewhere(s.needs.secondFactorOption(), err)
		}
		exist = append(exist, "EXISTS (SELECT 1 FROM "+t.sql(aliasFactor)+" WHERE "+condition+")")
		if err := s.askFor(ctx, b, t); err != nil {
			return setting.Elsewhere(s.needs.secondFactorOption(), err)
		}
	}
	if len(exist) > 0 {
		b.plan.secondFactor = b.add("(" + strings.Join(exist, " OR ") + ")")
	}
	return nil
}

// lookAtSecondFactors returns the existing tables of second factors. If the DSN's
// user may not read a table, MySQL doesn't tell whether it exists. Then Django's
// list of models decides; if that is unreadable, too, it is an error, because users
// may have second factors.
func (s *MySQL) lookAtSecondFactors(ctx context.Context, b *builder) ([]related, error) {
	if named := s.needs.SecondFactorTables; len(named) > 0 {
		tables := make([]related, len(named))
		for i, name := range named {
			var err error
			if tables[i], err = s.lookAtRelated(ctx, b, name); err != nil {
				return nil, err
			}
		}
		return tables, nil
	}
	var tables []related
	var hidden []factorModel
	for _, m := range factorModels {
		t, err := s.lookAtRelated(ctx, b, quote(m.table()))
		switch {
		case err == nil:
			tables = append(tables, t)
		case isHidden(err):
			hidden = append(hidden, m)
		case numberOf(err) != erNoSuchTable:
			return nil, err
		}
	}
	installed, err := s.installedModels(ctx, b)
	if len(hidden) == 0 {
		return tables, nil
	}
	if err != nil {
		return nil, s.cantTell(ctx, hidden, err)
	}
	for _, m := range hidden {
		if slices.Contains(installed, m) {
			return nil, s.mayNotReadFactors(ctx, s.factorAccess(m.table(), m.column()))
		}
	}
	return tables, nil
}

// isHidden reports whether an error says that a table may not be read, or doesn't
// exist.
func isHidden(err error) bool {
	number := numberOf(err)
	return number == erTableAccessDenied || number == erDatabaseAccessDenied || errors.As(err, &unseenColumns{})
}

// column returns the column that tells whether a row counts.
func (m factorModel) column() string {
	if m.app == "mfa" {
		return factorType
	}
	return factorConfirmed
}

// factorAccess returns the privileges needed on a table of second factors.
func (s *MySQL) factorAccess(table string, column string) relatedColumns {
	return relatedColumns{tableName: tableName{s.schema, table}, columns: []string{djangoUserColumn, column}}
}

// installedModels are the models of second factors that Django has made tables
// for, by its list of all models.
func (s *MySQL) installedModels(ctx context.Context, b *builder) ([]factorModel, error) {
	types, err := s.lookAtRelated(ctx, b, djangoTypeTable)
	if err != nil {
		return nil, err
	}
	app, err := types.column(b, djangoAppLabel)
	if err != nil {
		return nil, err
	}
	model, err := types.column(b, djangoModel)
	if err != nil {
		return nil, err
	}
	var apps []any
	for _, m := range factorModels {
		apps = append(apps, m.app)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	rows, err := s.pool.db.QueryContext(ctx, "SELECT "+quote(app.name)+", "+quote(model.name)+" FROM "+types.sql(aliasType)+
		" WHERE "+quote(app.name)+" IN (?"+strings.Repeat(", ?", len(apps)-1)+")", apps...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var installed []factorModel
	for rows.Next() {
		var m factorModel
		if err := rows.Scan(&m.app, &m.model); err != nil {
			return nil, fmt.Errorf("reading Django's list of models: %w", err)
		}
		installed = append(installed, m)
	}
	return installed, rows.Err()
}

// cantTell is the error if the existing tables of second factors are unknown.
func (s *MySQL) cantTell(ctx context.Context, hidden []factorModel, err error) error {
	if !errors.As(err, &misfit{}) {
		return err
	}
	names := make([]string, len(hidden))
	for i, m := range hidden {
		names[i] = m.table()
	}
	types := relatedColumns{tableName: tableName{s.schema, djangoTypeTable}, columns: []string{djangoAppLabel, djangoModel}}
	return misfitf("it can't be told whether users have second factors: the dsn's user may read neither the tables %s, if they exist, "+
		"nor %s, which lists those that do. Execute %s, name the tables there are with second_factor_tables in password, or %s (%w)",
		strings.Join(names, ", "), djangoTypeTable, s.grantTo(ctx, types), s.needs.insteadOfFactors("ignore"), err)
}

// mayNotReadFactors is the error for a table of second factors that exists.
func (s *MySQL) mayNotReadFactors(ctx context.Context, needed relatedColumns) error {
	return misfitf("the dsn's user may not read the second factors in table %q: execute %s, or %s",
		needed.table, s.grantTo(ctx, needed), s.needs.insteadOfFactors("ignore"))
}

// factorCondition is the condition that a row is a second factor of the user being
// read. Tables are distinguished by their columns: django-otp's say whether a
// device is confirmed, and allauth's have the type of an authenticator.
func (s *MySQL) factorCondition(ctx context.Context, b *builder, t related) (string, error) {
	counts := factorConfirmed
	if _, ok := t.find(counts); !ok {
		counts = factorType
	}
	user, hasUser := t.find(djangoUserColumn)
	says, ok := t.find(counts)
	if !hasUser || !ok {
		column := factorConfirmed
		if t.name == "mfa_authenticator" {
			column = factorType
		}
		needed := s.factorAccess(t.name, column)
		needed.schema = t.schema
		return "", misfitf("%s has no columns %s and %s that the dsn's user may read, as tables of second factors have: execute %s, "+
			"name other tables with second_factor_tables in password, or %s", t.table, djangoUserColumn, column, s.grantTo(ctx, needed), s.needs.insteadOfFactors("ignore"))
	}
	ofUser, err := s.ofUser(b, t, user, aliasFactor)
	if err != nil {
		return "", err
	}
	for _, name := range []string{user.name, says.name} {
		if _, err := t.column(b, name); err != nil {
			return "", err
		}
	}
	column := aliasFactor + "." + quote(says.name)
	if counts == factorConfirmed {
		return ofUser + " AND " + column + " IS TRUE", nil
	}
	return ofUser + " AND " + column + " IN (" + allauthFactors + ")", nil
}
