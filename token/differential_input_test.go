package token_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

const (
	checksPerBatch = 500
	usersPerBatch  = 6
)

// newBatch makes a batch, or one with only settings, and the error, if New
// rejects them.
func newBatch(t *testing.T, rnd *rand.Rand, v1Fallbacks bool) (*batch, error) {
	t.Helper()
	g := &generator{Rand: rnd, t: t}
	settings := g.settings(v1Fallbacks)
	b := &batch{Settings: vectorsSettings(settings), Packer: settings.Encoding.Name()}
	var err error
	if b.tokens, err = token.New(settings); err != nil {
		return b, err
	}
	for range usersPerBatch {
		user := g.user(settings)
		b.Users = append(b.Users, user, g.changed(settings, user))
	}
	for _, user := range b.Users {
		b.rows = append(b.rows, row{user.PrimaryKey.key(t), user.user(t)})
	}

	created := g.create(b, b.tokens)
	for _, made := range created {
		b.Create.Users = append(b.Create.Users, made.user)
		b.Create.Scopes = append(b.Create.Scopes, made.scope)
		b.Create.Clocks = append(b.Create.Clocks, made.at)
	}
	for range 3 { // of sites that differ in a setting
		if tokens, err := token.New(g.changedSettings(settings)); err == nil {
			created = append(created, g.create(b, tokens)...)
		}
	}
	created = slices.DeleteFunc(created, func(c creation) bool { return c.token == "" })
	for range checksPerBatch {
		g.addCheck(b, created)
	}
	return b, nil
}

// generator makes random inputs that are likely to show differences.
type generator struct {
	*rand.Rand
	t *testing.T
}

// oneIn returns true once in n times.
func (g *generator) oneIn(n int) bool { return g.IntN(n) == 0 }

// choice returns a random element.
func choice[T any](g *generator, values ...T) T { return values[g.IntN(len(values))] }

var packerNames = []string{
	"ShortPacker", "UnsignedShortPacker", "LongPacker", "UnsignedLongPacker", "LongLongPacker",
	"UnsignedLongLongPacker", "UUIDPacker", "BytesPacker", "StrPacker",
}

func (g *generator) settings(v1Fallbacks bool) token.Settings {
	s := token.Settings{
		SecretKey:               "k" + g.text(40), // never empty
		MaxAge:                  g.maxAge(),
		OneTime:                 g.oneIn(2),
		InvalidateOnEmailChange: g.oneIn(3),
		PrimaryKeyField:         "pk",
		Versions: choice(
			g,
			[]token.Version{token.V2, token.V1}, []token.Version{token.V2}, []token.Version{token.V1},
			[]token.Version{token.V1, token.V2}, []token.Version{token.V2, token.V1},
		),
		SignatureSize: choice(g, 10, 10, 10, 1, 2, 16, 64, 1+g.IntN(64)),
		Salt:          choice(g, "sesame", "sesame", "s"+g.text(12)),
		Digest:        choice(g, "md5", "md5", "sha1", "sha256", "sha512"),
		Iterations:    choice(g, 1, 1, 1, 2, 3),
		UseTZ:         new(g.oneIn(2)),
	}
	if g.oneIn(3) {
		s.Key = g.text(20)
	}
	// Without an age, django-sesame rejects that.
	if s.MaxAge != nil && g.oneIn(3) || g.oneIn(50) {
		s.InvalidateOnPasswordChange = new(false)
	}
	if v1Fallbacks || !slices.Contains(s.Versions, token.V1) {
		for range choice(g, 0, 0, 1, 3) {
			s.SecretKeyFallbacks = append(s.SecretKeyFallbacks, "f"+g.text(20))
		}
	}
	g.pack(&s)
	return s
}

// pack chooses a packer, and a way to name it.
func (g *generator) pack(s *token.Settings) {
	name := choice(g, packerNames...)
	if g.oneIn(12) {
		name = "hex:" + strconv.Itoa(2*(1+g.IntN(choice(g, 16, 255))))
	}
	var err error
	if s.Encoding, err = token.PackerByName(name); err != nil {
		g.t.Fatal(err)
	}
	switch isHex := strings.HasPrefix(name, "hex:"); {
	case isHex || g.oneIn(6):
		s.Packer = "people.packers." + choice(g, "Own", "KeyPacker", "É")
	case g.oneIn(2):
		s.Packer = "sesame.packers." + name
		if plain, ok := strings.CutSuffix(s.Packer, "LongPacker"); ok && !strings.HasSuffix(plain, "Long") && g.oneIn(3) {
			s.Packer = plain + "IntPacker" // its former name
		}
	default:
		s.PrimaryKeyField = choice(g, "pk", "pk", "id")
		return
	}
	s.PrimaryKeyField = choice(g, "pk", "pk", "id", "number", "ключ|x")
}

// maxAge returns a max_age that is exact both as a float in Python and in
// nanoseconds here: a multiple of a power of two. Otherwise a token's age
// could be between the two values.
func (g *generator) maxAge() *time.Duration {
	if g.oneIn(3) {
		return nil
	}
	const exact = time.Second / 512
	return choice(
		g, new(10*time.Second), new(time.Minute), new(10*time.Minute), new(600500*time.Millisecond), new(250*time.Millisecond),
		new(24*time.Hour), new(exact*time.Duration(g.Int64N(1<<20))), new(time.Duration(0)), new(-time.Second), new(100*365*24*time.Hour),
	)
}

// changedSettings returns the settings of a site that differs in one setting.
func (g *generator) changedSettings(s token.Settings) token.Settings {
	switch g.IntN(14) {
	case 0:
		s.SecretKey = g.text(20) + "x"
	case 1, 2:
		if len(s.SecretKeyFallbacks) > 0 {
			s.SecretKey = choice(g, s.SecretKeyFallbacks...)
		}
	case 3:
		if s.MaxAge = nil; g.oneIn(2) {
			s.MaxAge = new(time.Minute)
		}
	case 4:
		s.OneTime = !s.OneTime
	case 5:
		s.InvalidateOnEmailChange = !s.InvalidateOnEmailChange
	case 6:
		s.InvalidateOnPasswordChange = new(s.InvalidateOnPasswordChange != nil)
	case 7:
		s.SignatureSize = 1 + g.IntN(64)
	case 8:
		s.Key += "|"
	case 9:
		s.Salt, s.Digest = "pepper", "sha256"
	case 10:
		s.Iterations++
	case 11:
		s.UseTZ = new(!*s.UseTZ)
	case 12:
		s.PrimaryKeyField += "k"
	}
	if g.oneIn(5) {
		s.Versions = []token.Version{token.V1}
	}
	return s
}

// vectorsSettings returns settings in the form that Python reads.
func vectorsSettings(s token.Settings) vectorSettings {
	v := vectorSettings{
		SecretKey: s.SecretKey, SecretKeyFallbacks: s.SecretKeyFallbacks, Key: s.Key,
		OneTime: s.OneTime, InvalidateOnPasswordChange: s.InvalidateOnPasswordChange,
		InvalidateOnEmailChange: s.InvalidateOnEmailChange, PrimaryKeyField: s.PrimaryKeyField,
		SignatureSize: s.SignatureSize, Salt: s.Salt, Digest: s.Digest, Iterations: s.Iterations,
		Packer: s.Packer, UseTZ: s.UseTZ,
	}
	if s.MaxAge != nil {
		v.MaxAge = new(s.MaxAge.Seconds())
	}
	for _, version := range s.Versions {
		v.Tokens = append(v.Tokens, "sesame.tokens_"+version.String())
	}
	return v
}

// text returns a string of at most max characters of every kind.
func (g *generator) text(longest int) string {
	alphabet := choice(g, "abcXYZ019-_$:|!./ ", "aé$|ßñ\u00ad", "ключ用户ñ", "a\x00\x1f\x7f\r\n\t\"\\", "🔑😀e\u0301\ufeff\ufffd\U0010ffff", "<>&\u2028")
	runes := []rune(alphabet)
	var text strings.Builder
	for range g.IntN(longest + 1) {
		text.WriteRune(choice(g, runes...))
	}
	return text.String()
}

func (g *generator) user(s token.Settings) *vectorUser {
	user := &vectorUser{PrimaryKey: g.key(s.Encoding), Password: g.password(), Email: g.email()}
	user.LastLogin = g.lastLogin()
	return user
}

// changed returns a user with another value in one column.
func (g *generator) changed(s token.Settings, user *vectorUser) *vectorUser {
	other := *user
	switch g.IntN(4) {
	case 0:
		other.Password = g.password()
	case 1:
		other.Email = g.email()
	case 2:
		other.LastLogin = g.lastLogin()
	case 3:
		other.PrimaryKey = g.key(s.Encoding)
	}
	return &other
}

func (g *generator) key(packer token.Packer) *vectorKey {
	integer := func(n string) *vectorKey { return &vectorKey{Int: new(json.Number(n))} }
	var size int
	switch packer {
	case token.ShortPacker, token.UnsignedShortPacker:
		size = 16
	case token.LongPacker, token.UnsignedLongPacker:
		size = 32
	case token.LongLongPacker, token.UnsignedLongLongPacker:
		size = 64
	case token.UUIDPacker:
		return &vectorKey{UUID: new(hex.EncodeToString(g.bytes(16)))}
	case token.BytesPacker:
		return &vectorKey{Hex: new(hex.EncodeToString(g.bytes(g.IntN(choice(g, 2, 20, 256, 258)))))}
	case token.StrPacker:
		return &vectorKey{Str: new(g.text(choice(g, 1, 20, 60, 255)))}
	default: // hexadecimal digits
		digits, err := strconv.Atoi(strings.TrimPrefix(packer.Name(), "hex:"))
		if err != nil {
			g.t.Fatal(err)
		}
		text := hex.EncodeToString(g.bytes(digits / 2))
		return &vectorKey{Str: new(choice(g, text, text, strings.ToUpper(text)))}
	}
	if packer.Kind() == token.KindInt {
		edge := int64(math.MaxInt64) >> (64 - size)
		return integer(strconv.FormatInt(choice(g, 0, 1, -1, edge, -edge-1, edge-1, g.Int64()>>(64-size), g.Int64N(1000), g.Int64()), 10))
	}
	edge := uint64(math.MaxUint64) >> (64 - size)
	if g.oneIn(20) {
		return integer("-1") // doesn't fit
	}
	return integer(strconv.FormatUint(choice(g, 0, 1, edge, edge-1, edge/2+1, g.Uint64()>>(64-size), g.Uint64N(1000), g.Uint64()), 10))
}

func (g *generator) bytes(n int) []byte {
	b := make([]byte, n)
	pattern := choice(g, -1, -1, -1, 0, 0xff)
	for i := range b {
		b[i] = byte(pattern)
		if pattern < 0 {
			b[i] = byte(g.Uint32())
		}
	}
	return b
}

func (g *generator) password() *string {
	algorithm := choice(
		g, "pbkdf2_sha256$600000$salt$", "pbkdf2_sha1$1$salt$", "argon2$argon2id$v=19$m=102400,t=2,p=8$salt$", "bcrypt_sha256$$2b$12$",
		"bcrypt$$2b$12$", "sha1$salt$", "md5$salt$", "crypt$$", "scrypt$16384$salt$8$1$", "unknown$", "pbkdf2_sha256", "md5$$", "", "!", "$",
	)
	return choice(
		g, new(algorithm+g.base64(g.IntN(90))), new(algorithm+g.base64(44)), new(algorithm+g.text(50)), new(algorithm), new("!"+g.base64(40)), new(g.text(128)), nil,
	)
}

func (g *generator) base64(n int) string {
	return base64.StdEncoding.EncodeToString(g.bytes(n))[:n]
}

func (g *generator) email() *string {
	if g.oneIn(25) {
		return nil
	}
	return choice(g, new("alice@example.com"), new("Alice@example.com"), new(""), new(g.text(30)))
}

func (g *generator) lastLogin() *string {
	if g.oneIn(5) {
		return nil
	}
	at := time.Unix(1577836800+g.Int64N(300_000_000), 0)
	if g.oneIn(6) { // the years 1 to 9999, all that Python can hold
		at = time.Unix(-62135596800+g.Int64N(315537897599), 0)
	}
	at = at.Add(choice(g, 0, time.Microsecond, 999_999*time.Microsecond, time.Duration(g.IntN(1_000_000))*time.Microsecond, 100*time.Millisecond))
	format := "2006-01-02T15:04:05.000000"
	if at.Nanosecond() == 0 {
		format = "2006-01-02T15:04:05"
	}
	return new(at.UTC().Format(format))
}

// creation is a token and its inputs.
type creation struct {
	token string // empty where that was impossible
	user  int
	scope string
	at    float64
}

// create makes tokens for all users of a batch.
func (g *generator) create(b *batch, tokens *token.Tokens) []creation {
	var all []creation
	for user := range b.Users {
		c := creation{user: user, at: g.clock()}
		if tokens.Settings().Versions[0] == token.V2 || g.oneIn(10) {
			c.scope = choice(g, "", "", "report:7", g.text(20))
		}
		// If it fails, django-sesame must fail, too.
		c.token, _ = tokens.Create(b.rows[user].key, b.rows[user].user, c.scope, unix(c.at))
		all = append(all, c)
	}
	return all
}

// clock returns a time, in Unix seconds.
func (g *generator) clock() float64 {
	at := choice(
		g, 1_714_979_289, 1_714_979_289+g.Int64N(1e8), 1_600_000_000, 0, 1, 1_577_836_800-1, 1_577_836_800, 1_577_836_800+math.MaxInt32,
		1_577_836_800+math.MaxInt32+1, 916_132_832, 916_132_831, g.Int64N(3e9),
	)
	return float64(at) + choice(g, 0, 0, 0.5, 0.999, 0.25, g.Float64())
}

// addCheck adds a token to the checks: mostly a created one, with the row that it
// was made for.
func (g *generator) addCheck(b *batch, created []creation) {
	var c creation
	switch {
	case len(created) == 0 || g.oneIn(30):
		c = creation{token: g.garbage(), user: g.IntN(len(b.Users)), at: g.clock()}
	case g.oneIn(10):
		c = g.signedV1(b, choice(g, created...))
	default:
		c = choice(g, created...)
	}
	if g.oneIn(3) {
		c.token = g.damaged(c.token, created)
	}
	switch {
	case g.oneIn(20):
		c.user = -1
	case g.oneIn(10):
		c.user ^= 1 // another user, another state of the row
	case g.oneIn(20):
		c.user = g.IntN(len(b.Users))
	}
	if g.oneIn(8) {
		c.scope = choice(g, "", c.scope+" ", "report:8", strings.ToUpper(c.scope), g.text(10))
	}
	var maxAge *float64
	if g.oneIn(8) {
		maxAge = choice(g, new(0.0), new(60.0), new(600.5), new(1e6), new(-1.0), new(float64(g.IntN(1000))))
	}

	b.Check.Tokens = append(b.Check.Tokens, c.token)
	b.Check.Users = append(b.Check.Users, c.user)
	b.Check.Scopes = append(b.Check.Scopes, c.scope)
	b.Check.Clocks = append(b.Check.Clocks, g.later(b, c.at, maxAge))
	b.Check.MaxAges = append(b.Check.MaxAges, maxAge)
}

// later returns the time at which a token is checked: often just before or
// after it expires.
func (g *generator) later(b *batch, at float64, maxAge *float64) float64 {
	age := 600.0
	switch {
	case maxAge != nil:
		age = *maxAge
	case b.Settings.MaxAge != nil:
		age = *b.Settings.MaxAge
	}
	at = choice(
		g, at, at+1, math.Trunc(at)+age/2, math.Trunc(at)+age-1, math.Trunc(at)+age, at+age, math.Trunc(at+age), math.Trunc(at)+age+1,
		math.Trunc(at)+age+choice(g, -0.5, 0.5, 1e-6, -1e-6, 0.999), at-1, at+g.Float64()*age, g.clock(),
	)
	return min(max(at, 0), 1e10)
}

// signedV1 returns a v1 token with a valid signature over data that a packer
// may not have made.
func (g *generator) signedV1(b *batch, c creation) creation {
	value, _, _ := strings.Cut(c.token, ":")
	if g.oneIn(2) {
		value = g.damaged(value, nil)
	} else {
		value = base64.RawURLEncoding.EncodeToString(g.bytes(g.IntN(choice(g, 6, 30, 100))))
	}
	if b.Settings.MaxAge != nil && !g.oneIn(20) || g.oneIn(20) {
		const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		var digits []byte
		for n := int64(c.at); n > 0 || len(digits) < 6 && g.oneIn(2); n /= 62 {
			digits = append(digits, base62[n%62])
		}
		slices.Reverse(digits)
		value += ":" + string(digits)
	}
	key := sha1.Sum([]byte(b.Settings.Salt + "signer" + b.Settings.SecretKey))
	mac := hmac.New(sha1.New, key[:])
	mac.Write([]byte(value))
	c.token = value + ":" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	return c
}

// garbage returns a text that never was a token.
func (g *generator) garbage() string {
	return choice(
		g, "", "a", "AAAA", "AAA", ":", "AAAA:", strings.Repeat("A", 27), "AAAA:"+strings.Repeat("A", 27), "AAAA:AAAAAA:"+strings.Repeat("A", 27),
		g.text(40), base64.RawURLEncoding.EncodeToString(g.bytes(g.IntN(40))), base64.RawURLEncoding.EncodeToString(g.bytes(g.IntN(500))),
		strings.Repeat("_", g.IntN(800)),
	)
}

// damaged returns a token with a random change, as by a mail program or an
// attacker.
func (g *generator) damaged(made string, others []creation) string {
	if made == "" {
		return g.garbage()
	}
	at := g.IntN(len(made))
	switch g.IntN(14) {
	case 0:
		return made[:at]
	case 1:
		return made[at:]
	case 2, 3: // another character, of the alphabet or not
		return made[:at] + choice(g, "A", "_", "-", "z", "0", ":", "=", "+", "/", "%", "é", "Ａ", "\n", " ", "\x00", "٣") + made[at+1:]
	case 4: // the unused bits of the last character
		return made[:len(made)-1] + string(base64URL[g.IntN(64)])
	case 5, 6: // a bit of the encoded data
		data, err := base64.RawURLEncoding.DecodeString(made)
		if err != nil || len(data) == 0 {
			return made[:at] + string(made[at]^1) + made[at+1:]
		}
		data[g.IntN(len(data))] ^= 1 << g.IntN(8)
		return base64.RawURLEncoding.EncodeToString(data)
	case 7:
		return strings.NewReplacer("-", "+", "_", "/").Replace(made)
	case 8:
		return made + strings.Repeat("=", g.IntN(4))
	case 9:
		return choice(g, made+"\n", made+" ", " "+made, made+made, made+"A", "A"+made, made+"\u00a0", made+"\u2028")
	case 10:
		return choice(g, strings.ToUpper(made), strings.ToLower(made))
	case 11:
		return made[:at] + made[min(at+1+g.IntN(4), len(made)):]
	case 12: // parts of a v1 token in another order, or twice
		parts := strings.Split(made, ":")
		return strings.Join([]string{choice(g, parts...), choice(g, parts...), choice(g, parts...)}[:1+g.IntN(3)], ":")
	default: // the beginning of one and the end of another
		if len(others) == 0 {
			return made
		}
		other := choice(g, others...).token
		return made[:at] + other[min(at, len(other)):]
	}
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
