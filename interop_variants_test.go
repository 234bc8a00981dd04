package sesame_test

import (
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// interopVariant is a way to configure Django, and the same for the gateway and
// for token.
type interopVariant struct {
	name     string
	django   map[string]any
	options  string
	store    string
	cfg      userstore.Config // what store says
	settings token.Settings
	scope    string
}

const interopMaxAge = 10 * time.Minute

var interopVariants = []interopVariant{
	{name: "defaults", settings: token.Settings{Encoding: token.LongPacker}},
	{
		name:     "max age",
		django:   map[string]any{"SESAME_MAX_AGE": 600},
		options:  "max_age 10m",
		settings: token.Settings{Encoding: token.LongPacker, MaxAge: new(interopMaxAge)},
	},
	{
		name:     "max age in fractions",
		django:   map[string]any{"SESAME_MAX_AGE": 600.5},
		options:  "max_age 600.5",
		settings: token.Settings{Encoding: token.LongPacker, MaxAge: new(interopMaxAge + time.Second/2)},
	},
	{
		name:     "one time",
		django:   map[string]any{"SESAME_ONE_TIME": true},
		options:  "one_time",
		settings: token.Settings{Encoding: token.LongPacker, OneTime: true},
	},
	{
		name:     "one time, with a max age",
		django:   map[string]any{"SESAME_ONE_TIME": true, "SESAME_MAX_AGE": 600},
		options:  "one_time\nmax_age 600",
		settings: token.Settings{Encoding: token.LongPacker, OneTime: true, MaxAge: new(interopMaxAge)},
	},
	{
		name:     "one time, naive local times",
		django:   map[string]any{"SESAME_ONE_TIME": true, "USE_TZ": false, "TIME_ZONE": "America/Chicago"},
		options:  "one_time\nuse_tz off\ntime_zone America/Chicago",
		settings: token.Settings{Encoding: token.LongPacker, OneTime: true, UseTZ: new(false)},
	},
	{
		name:     "one time, aware times with a local zone",
		django:   map[string]any{"SESAME_ONE_TIME": true, "TIME_ZONE": "Asia/Kathmandu"},
		options:  "one_time",
		settings: token.Settings{Encoding: token.LongPacker, OneTime: true},
	},
	{
		name:     "ended by a new e-mail address",
		django:   map[string]any{"SESAME_INVALIDATE_ON_EMAIL_CHANGE": true},
		options:  "invalidate_on_email_change",
		settings: token.Settings{Encoding: token.LongPacker, InvalidateOnEmailChange: true},
	},
	{
		name:     "not ended by a new password",
		django:   map[string]any{"SESAME_INVALIDATE_ON_PASSWORD_CHANGE": false, "SESAME_MAX_AGE": 600},
		options:  "invalidate_on_password_change off\nmax_age 10m",
		settings: token.Settings{Encoding: token.LongPacker, InvalidateOnPasswordChange: new(false), MaxAge: new(interopMaxAge)},
	},
	{
		name:     "all that ends tokens",
		django:   map[string]any{"SESAME_INVALIDATE_ON_EMAIL_CHANGE": true, "SESAME_MAX_AGE": 600, "SESAME_ONE_TIME": true},
		options:  "invalidate_on_email_change\nmax_age 10m\none_time",
		settings: token.Settings{Encoding: token.LongPacker, InvalidateOnEmailChange: true, OneTime: true, MaxAge: new(interopMaxAge)},
	},
	{
		name:     "with a scope",
		options:  `scope "report:7 ü"`,
		settings: token.Settings{Encoding: token.LongPacker},
		scope:    "report:7 ü",
	},
	{
		name:     "with a key, a long signature and another name",
		django:   map[string]any{"SESAME_KEY": "k|ü", "SESAME_SIGNATURE_SIZE": 32, "SESAME_TOKEN_NAME": "url_auth_token"},
		options:  "key k|ü\nsignature_size 32\ntoken_name url_auth_token",
		settings: token.Settings{Encoding: token.LongPacker, Key: "k|ü", SignatureSize: 32},
	},
	{
		name:     "v1",
		django:   map[string]any{"SESAME_TOKENS": []string{"sesame.tokens_v1"}},
		options:  "tokens v1",
		settings: token.Settings{Encoding: token.LongPacker, Versions: []token.Version{token.V1}},
	},
	{
		name:     "v1, accepted next to v2",
		django:   map[string]any{"SESAME_TOKENS": []string{"sesame.tokens_v1", "sesame.tokens_v2"}, "SESAME_MAX_AGE": 600},
		options:  "tokens v2 v1\nmax_age 600",
		settings: token.Settings{Encoding: token.LongPacker, Versions: []token.Version{token.V1, token.V2}, MaxAge: new(interopMaxAge)},
	},
	{
		name: "v1 with all that ends tokens",
		django: map[string]any{
			"SESAME_TOKENS": []string{"sesame.tokens_v1"}, "SESAME_MAX_AGE": 600, "SESAME_ONE_TIME": true,
			"SESAME_INVALIDATE_ON_EMAIL_CHANGE": true, "SESAME_SALT": "pepper", "SESAME_ITERATIONS": 10,
		},
		options: "tokens v1\nmax_age 600\none_time\ninvalidate_on_email_change\nsalt pepper\niterations 10",
		settings: token.Settings{
			Encoding: token.LongPacker, Versions: []token.Version{token.V1}, MaxAge: new(interopMaxAge), OneTime: true,
			InvalidateOnEmailChange: true, Salt: "pepper", Iterations: 10,
		},
	},
	{
		name:    "v1, one time, naive local times",
		django:  map[string]any{"SESAME_TOKENS": []string{"sesame.tokens_v1"}, "SESAME_ONE_TIME": true, "SESAME_ITERATIONS": 10, "USE_TZ": false, "TIME_ZONE": "America/Chicago"},
		options: "tokens v1\none_time\niterations 10\nuse_tz off\ntime_zone America/Chicago",
		settings: token.Settings{
			Encoding: token.LongPacker, Versions: []token.Version{token.V1}, OneTime: true, Iterations: 10, UseTZ: new(false),
		},
	},
	{
		name:     "a packer of django-sesame's, named",
		django:   map[string]any{"SESAME_PACKER": "sesame.packers.UnsignedShortPacker"},
		options:  "packer sesame.packers.UnsignedShortPacker",
		settings: token.Settings{Packer: "sesame.packers.UnsignedShortPacker"},
	},
	{
		name:     "a packer of the project's own",
		django:   map[string]any{"AUTH_USER_MODEL": "people.HexPerson", "SESAME_PACKER": "people.packers.ObjectIdPacker"},
		options:  "packer people.packers.ObjectIdPacker\npacker_encoding hex:24",
		store:    "table people_hexperson",
		cfg:      userstore.Config{Table: "people_hexperson"},
		settings: token.Settings{Packer: "people.packers.ObjectIdPacker", Encoding: hexPacker(24)},
	},
	{
		name:     "SmallAutoField",
		django:   map[string]any{"AUTH_USER_MODEL": "people.SmallPerson"},
		store:    "table people_smallperson",
		cfg:      userstore.Config{Table: "people_smallperson"},
		settings: token.Settings{Encoding: token.ShortPacker},
	},
	{
		name:     "BigAutoField",
		django:   map[string]any{"AUTH_USER_MODEL": "people.BigPerson"},
		store:    "table people_bigperson",
		cfg:      userstore.Config{Table: "people_bigperson"},
		settings: token.Settings{Encoding: token.LongLongPacker},
	},
	{
		name:     "PositiveBigIntegerField",
		django:   map[string]any{"AUTH_USER_MODEL": "people.PositiveBigPerson"},
		store:    "table people_positivebigperson",
		cfg:      userstore.Config{Table: "people_positivebigperson"},
		settings: token.Settings{Encoding: token.UnsignedLongLongPacker},
	},
	{
		name:     "UUIDField",
		django:   map[string]any{"AUTH_USER_MODEL": "people.UUIDPerson", "SESAME_ONE_TIME": true},
		options:  "one_time",
		store:    "table people_uuidperson",
		cfg:      userstore.Config{Table: "people_uuidperson"},
		settings: token.Settings{Encoding: token.UUIDPacker, OneTime: true},
	},
	{
		name:    "CharField, and columns of other names",
		django:  map[string]any{"AUTH_USER_MODEL": "people.NamedPerson", "SESAME_ONE_TIME": true, "SESAME_INVALIDATE_ON_EMAIL_CHANGE": true},
		options: "one_time\ninvalidate_on_email_change",
		store:   "table crew\npassword hash\nlast_login seen\nusername login\nemail mail\nis_active enabled",
		cfg: userstore.Config{Table: "crew", Columns: userstore.Columns{
			Password: "hash", LastLogin: "seen", Username: "login", Email: "mail", IsActive: "enabled",
		}},
		settings: token.Settings{Encoding: token.StrPacker, OneTime: true, InvalidateOnEmailChange: true},
	},
	{
		name:     "a field that isn't the primary key",
		django:   map[string]any{"AUTH_USER_MODEL": "people.NumberedPerson", "SESAME_PRIMARY_KEY_FIELD": "number", "SESAME_ONE_TIME": true},
		options:  "primary_key_field number\none_time",
		store:    "table people_numberedperson",
		cfg:      userstore.Config{Table: "people_numberedperson", PrimaryKeyField: "number"},
		settings: token.Settings{Encoding: token.UnsignedLongPacker, PrimaryKeyField: "number", OneTime: true},
	},
	{
		name:     "a text field that isn't the primary key",
		django:   map[string]any{"SESAME_PRIMARY_KEY_FIELD": "username"},
		options:  "primary_key_field username",
		cfg:      userstore.Config{PrimaryKeyField: "username"},
		settings: token.Settings{Encoding: token.StrPacker, PrimaryKeyField: "username"},
	},
}

func hexPacker(digits int) token.Packer {
	packer, err := token.HexPacker(digits)
	if err != nil {
		panic(err)
	}
	return packer
}
