package otp_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/otp"
)

// device6238 has the key of RFC 6238, appendix B.
var device6238 = otp.TOTPDevice{Key: hex.EncodeToString([]byte("12345678901234567890")), Step: 30, Digits: 8, LastT: -1}

func TestCodesOfRFC6238(t *testing.T) {
	t.Parallel()
	for at, code := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		after, err := device6238.Verify(code, otp.TOTPSettings{}, time.Unix(at, 0))
		if err != nil || after.LastT != at/30 {
			t.Errorf("%s: %+v, %v", code, after, err)
		}
	}
}

func TestWrongCodesLockForTwiceAsLong(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	device, settings := device6238, otp.TOTPSettings{ThrottleFactor: 1}
	for n, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
		var err error
		if device, err = device.Verify("0", settings, now); err != otp.ErrMismatch {
			t.Fatal(err)
		}
		until, isLocked := device.LockedUntil(1, now)
		if !isLocked || until.Sub(now) != want {
			t.Errorf("after %d: %v, %v", n+1, until.Sub(now), isLocked)
		}
		if _, err := device.Verify("0", settings, until.Add(-1)); err != otp.ErrThrottled {
			t.Errorf("after %d: %v", n+1, err)
		}
		now = until
	}
	device.FailureCount = 1 << 40
	if until, isLocked := device.LockedUntil(1, now); !isLocked || until.Before(now.AddDate(50, 0, 0)) {
		t.Errorf("%v, %v", until, isLocked)
	}
}

// wrongData are columns of allauth's that can't be right.
var wrongData = []string{"", "[]", `{}`, `{"secret":1}`, `{"secret":"1"}`, `{"seed":"a","used_mask":"0"}`, `{"seed":"a","used_mask":-1}`, `{"migrated_codes":[1]}`, `{"migrated_codes":"a"}`}

func TestRowThatCantBeRightIsRejected(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*otp.TOTPDevice){
		"a key that isn't hexadecimal": func(d *otp.TOTPDevice) { d.Key = "x" },
		"no step":                      func(d *otp.TOTPDevice) { d.Step = 0 },
		"no digits":                    func(d *otp.TOTPDevice) { d.Digits = 0 },
		"more digits than HOTP has":    func(d *otp.TOTPDevice) { d.Digits = 10 },
		"a tolerance of many steps":    func(d *otp.TOTPDevice) { d.Tolerance = 32767 },
	} {
		device := device6238
		change(&device)
		if _, err := device.Verify("94287082", otp.TOTPSettings{}, time.Unix(59, 0)); err != otp.ErrRow {
			t.Errorf("%s: %v", name, err)
		}
	}
	allauth, err := otp.NewAllauth(otp.AllauthSettings{})
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range wrongData {
		_, totpErr := allauth.VerifyTOTP(data, "000000", time.Unix(59, 0))
		_, codeErr := allauth.UseRecoveryCode(data, "00000000")
		if totpErr != otp.ErrRow || codeErr != otp.ErrRow {
			t.Errorf("%s: %v, %v", data, totpErr, codeErr)
		}
	}
}

func TestSettingsThatCantBeRightAreRejected(t *testing.T) {
	t.Parallel()
	for says, settings := range map[string]otp.AllauthSettings{
		"TOTPPeriod":         {TOTPPeriod: -1},
		"TOTPDigits":         {TOTPDigits: 10},
		"TOTPTolerance":      {TOTPTolerance: 101},
		"RecoveryCodeCount":  {RecoveryCodeCount: 64},
		"RecoveryCodeDigits": {RecoveryCodeDigits: 17},
	} {
		if _, err := otp.NewAllauth(settings); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func TestStaticTokenIsFound(t *testing.T) {
	t.Parallel()
	tokens := []string{otp.NewStaticToken(), otp.NewStaticToken(), otp.NewStaticToken()}
	for i, token := range tokens {
		if at := otp.MatchStatic(tokens, token); at != i || len(token) != 8 || token != strings.ToLower(token) {
			t.Errorf("%q is at %d", token, at)
		}
	}
	tokens = append(tokens, "")
	for _, code := range []string{"", tokens[0][1:], strings.ToUpper(tokens[0] + "a")} {
		if at := otp.MatchStatic(tokens, code); at != -1 {
			t.Errorf("%q is at %d", code, at)
		}
	}
}

// A code is accepted once: the row that Verify returns refuses it.
func Example() {
	device := otp.TOTPDevice{
		Key: "3132333435363738393031323334353637383930", Step: 30, Digits: 6, Tolerance: 1, LastT: -1,
	}
	now := time.Unix(59, 0)
	device, err := device.Verify("287082", otp.TOTPSettings{ThrottleFactor: 1}, now)
	fmt.Println("write last_t", device.LastT, err)
	_, err = device.Verify("287082", otp.TOTPSettings{ThrottleFactor: 1}, now)
	fmt.Println(err)
	// Output:
	// write last_t 1 <nil>
	// the code is wrong, too old, or used already
}

func BenchmarkTOTP(b *testing.B) {
	device := device6238
	device.Tolerance = 1
	b.ReportAllocs()
	for b.Loop() {
		if _, err := device.Verify("0", otp.TOTPSettings{}, time.Unix(1_700_000_000, 0)); err != otp.ErrMismatch {
			b.Fatal(err)
		}
	}
}

// FuzzAllauth reads any column data: a recovery code that is accepted is
// accepted once.
func FuzzAllauth(f *testing.F) {
	f.Add(`{"secret":"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}`, "287082")
	f.Add(`{"seed":"seed","used_mask":5,"x":[NaN]}`, "12345678")
	f.Add(`{"migrated_codes":["a","a"],"migrated_codes":["b"]}`, "b")
	f.Add(`{"migrated_codes":["a","b","c"],"x":{"y":null}}`, "b")
	f.Add(`{"seed":null,"secret":null,"used_mask":null}`, "000000")
	f.Add(`{"secret":"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}`, "000000")
	for _, data := range wrongData {
		f.Add(data, "00000000")
	}
	for _, v := range readVectors(f) {
		if v.Question.Do != "totp" && v.Answer.OK {
			f.Add(v.Question.Data, v.Question.Code)
		}
	}
	allauth, err := otp.NewAllauth(otp.AllauthSettings{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data, code string) {
		if step, err := allauth.VerifyTOTP(data, code, time.Unix(59, 0)); err == nil && (step != 1 || len(code) != 6) {
			t.Errorf("%q: step %d for %q", data, step, code)
		}
		for range 12 {
			var err error
			if data, err = allauth.UseRecoveryCode(data, code); err != nil {
				if !errors.Is(err, otp.ErrMismatch) && !errors.Is(err, otp.ErrRow) {
					t.Error(err)
				}
				return
			}
		}
		if strings.Contains(data, `"seed"`) && !strings.Contains(data, "migrated_codes") {
			t.Errorf("%q is accepted again and again", code)
		}
	})
}

// FuzzTOTP reads any row and code: an accepted code increases last_t.
func FuzzTOTP(f *testing.F) {
	f.Add(device6238.Key, int64(30), int64(0), 8, int64(1), int64(0), int64(-1), "94287082", int64(59))
	f.Add("x", int64(0), int64(0), 6, int64(1), int64(0), int64(0), "000000", int64(59))
	for _, v := range readVectors(f) {
		if q := &v.Question; q.Do == "totp" && v.Answer.OK {
			f.Add(q.Device.Key, q.Device.Step, q.Device.T0, q.Device.Digits, q.Device.Tolerance, q.Device.Drift, q.Device.LastT, q.Code, q.Now)
		}
	}
	f.Add("00", int64(1), int64(-1<<62), 9, int64(100), int64(1<<62), int64(-1<<62), " 1 ", int64(-1))
	f.Fuzz(func(t *testing.T, key string, step, t0 int64, digits int, tolerance, drift, lastT int64, code string, at int64) {
		device := otp.TOTPDevice{Key: key, Step: step, T0: t0, Digits: digits, Tolerance: tolerance, Drift: drift, LastT: lastT}
		after, err := device.Verify(code, otp.TOTPSettings{}, time.Unix(at, 0))
		if err == nil && after.LastT <= device.LastT {
			t.Errorf("%+v: %q is accepted: %+v", device, code, after)
		}
	})
}
