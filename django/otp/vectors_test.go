package otp_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/otp"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

type vector struct {
	Question struct {
		Do     string `json:"do"` // totp, allauth_totp or recovery
		Now    int64  `json:"now"`
		Code   string `json:"code"`
		Device device `json:"device"`
		Sync   bool   `json:"sync"`
		Factor int64  `json:"factor"`

		Data      string `json:"data"`
		Digits    int    `json:"digits"`
		Tolerance int64  `json:"tolerance"`
	} `json:"question"`
	Answer struct {
		IsError bool   `json:"error"`
		OK      bool   `json:"ok"`
		Drift   int64  `json:"drift"`
		LastT   int64  `json:"last_t"`
		Count   int64  `json:"throttling_failure_count"`
		Data    string `json:"data"`
	} `json:"answer"`
}

type device struct {
	Key       string `json:"key"`
	Step      int64  `json:"step"`
	T0        int64  `json:"t0"`
	Digits    int    `json:"digits"`
	Tolerance int64  `json:"tolerance"`
	Drift     int64  `json:"drift"`
	LastT     int64  `json:"last_t"`
	Count     int64  `json:"throttling_failure_count"`
	Failed    *int64 `json:"failed"`
}

// check compares the verdict, and the values that are written.
func (v *vector) check(t testing.TB) {
	t.Helper()
	q, a := &v.Question, &v.Answer
	now := time.Unix(q.Now, 0)
	if q.Do == "totp" {
		v.checkTOTP(t, now)
		return
	}
	settings := otp.AllauthSettings{TOTPDigits: q.Digits, TOTPTolerance: q.Tolerance, RecoveryCodeDigits: q.Digits}
	allauth, err := otp.NewAllauth(settings)
	if err != nil {
		t.Fatal(err)
	}
	if q.Do == "allauth_totp" {
		if step, err := allauth.VerifyTOTP(q.Data, q.Code, now); (err == nil) != a.OK || err == nil && (step-q.Now/30 > q.Tolerance || q.Now/30-step > q.Tolerance) {
			t.Errorf("%+v: step %d, %v", v, step, err)
		}
		return
	}
	written, err := allauth.UseRecoveryCode(q.Data, q.Code)
	if (err == nil) != a.OK || err == nil && !isSameJSON(t, written, a.Data) {
		t.Errorf("%+v: %s, %v", v, written, err)
	}
	if err == nil {
		if _, err := allauth.UseRecoveryCode(written, q.Code); err != otp.ErrMismatch {
			t.Errorf("%+v is accepted a second time: %v", v, err)
		}
	}
}

func (v *vector) checkTOTP(t testing.TB, now time.Time) {
	t.Helper()
	q, a := &v.Question, &v.Answer
	d := otp.TOTPDevice{
		Key: q.Device.Key, Step: q.Device.Step, T0: q.Device.T0, Digits: q.Device.Digits, Tolerance: q.Device.Tolerance,
		Drift: q.Device.Drift, LastT: q.Device.LastT, Throttle: otp.Throttle{FailureCount: q.Device.Count},
	}
	if q.Device.Failed != nil {
		d.FailureTimestamp = new(time.Unix(*q.Device.Failed, 0))
	}
	settings := otp.TOTPSettings{ThrottleFactor: q.Factor, WithoutSync: !q.Sync}
	after, err := d.Verify(q.Code, settings, now)
	if (err == nil) != a.OK {
		t.Errorf("%+v: %v", v, err)
		return
	}
	if !a.IsError && (after.Drift != a.Drift || after.LastT != a.LastT || after.FailureCount != a.Count) {
		t.Errorf("%+v: %v, and the row is %+v", v, err, after)
	}
	if errors.Is(err, otp.ErrThrottled) && !reflect.DeepEqual(after, d) {
		t.Errorf("%+v: a locked device is changed: %+v", v, after)
	}
	if err == nil {
		if _, err := after.Verify(q.Code, settings, now); err != otp.ErrMismatch {
			t.Errorf("%+v is accepted a second time: %v", v, err)
		}
	}
}

func isSameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var left, right map[string]any
	if err := errors.Join(json.Unmarshal([]byte(a), &left), json.Unmarshal([]byte(b), &right)); err != nil {
		t.Fatal(err)
	}
	return maps.EqualFunc(left, right, func(x, y any) bool { return reflect.DeepEqual(x, y) })
}

func readVectors(t testing.TB) (vectors []vector) {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	return vectors
}

func TestVectorsOfTheLibraries(t *testing.T) {
	t.Parallel()
	accepted := make(map[string]int)
	for _, v := range readVectors(t) {
		v.check(t)
		if v.Answer.OK {
			accepted[v.Question.Do]++
		}
	}
	for _, kind := range []string{"totp", "allauth_totp", "recovery"} {
		if accepted[kind] < 10 {
			t.Errorf("%d of %s are accepted: too few to show anything", accepted[kind], kind)
		}
	}
}

// TestDifferential has the libraries make random codes and judge them: those that
// OTP_SRC names, or else Debian's django-otp alone.
func TestDifferential(t *testing.T) {
	t.Parallel()
	sources := testpeer.CheckoutsOrPackage(t, "OTP_SRC", "django-otp, django-allauth and Django, all of them", "django_otp")
	d := testpeer.NewDifferential(t, 2_000, 1)
	peer := testpeer.Start(t, "testdata/peer.py", sources...)
	accepted := 0
	for d.Goes(t) {
		var vectors []vector
		peer.Ask(t, []uint64{d.Rand.Uint64() >> 1, 200}, &vectors)
		for _, v := range vectors {
			v.check(t)
			if v.Answer.OK {
				accepted++
			}
		}
		d.Compared(len(vectors))
	}
	t.Logf("%d codes accepted", accepted)
}
