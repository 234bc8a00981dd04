package require_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func TestRequirementsAreReadFromALine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		line string
		want require.Requirement
		text string // as String writes it
	}{
		{"group editors", require.Requirement{Groups: []string{"editors"}}, "group editors"},
		{"group editors admins", require.Requirement{Groups: []string{"editors", "admins"}}, "group editors admins"},
		{"permission blog.change_post", require.Requirement{Permissions: []string{"blog.change_post"}}, "permission blog.change_post"},
		{"user alice bob", require.Requirement{Users: []string{"alice", "bob"}}, "user alice bob"},
		{"staff", require.Requirement{Staff: true}, "staff"},
		{"superuser", require.Requirement{Superuser: true}, "superuser"},
	} {
		got, err := require.Parse(strings.Fields(test.line))
		if err != nil || !reflect.DeepEqual(got, test.want) || got.String() != test.text {
			t.Errorf("%s: %+v, %v, written as %s", test.line, got, err, got)
		}
	}
	all := require.Requirement{Groups: []string{"a"}, Permissions: []string{"b.c"}, Users: []string{"d"}, Staff: true, Superuser: true}
	if got, want := all.String(), "group a, permission b.c, user d, staff, superuser"; got != want {
		t.Errorf("it is written as %s, want %s", got, want)
	}
}

func TestRequirementsThatCannotBeAreRejected(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		words []string
		says  string
	}{
		{nil, "needs a condition"},
		{[]string{"group"}, "group needs a name"},
		{[]string{"user"}, "user needs a name"},
		{[]string{"permission"}, "permission needs a name"},
		{[]string{"staff", "alice"}, "staff takes no names"},
		{[]string{"superuser", "alice"}, "superuser takes no names"},
		{[]string{"groups", "editors"}, `unrecognized requirement "groups"`},
		{[]string{"groups", "editors"}, "did you mean group"},
		{[]string{"is_staff"}, "did you mean staff"},
		{[]string{"Superusers"}, "did you mean superuser"},
		{[]string{"permision", "blog.change_post"}, "did you mean permission"},
		{[]string{"usre", "alice"}, "did you mean user"},
		{[]string{"users", "alice"}, "did you mean user"},
		{[]string{"username", "alice"}, "did you mean user"},
		{[]string{"id", "1"}, "did you mean user"},
		{[]string{"admin"}, "did you mean superuser"},
		{[]string{"root"}, "did you mean superuser"},
		{[]string{"role", "editors"}, "did you mean group"},
		{[]string{"perm", "blog.change_post"}, "did you mean permission"},
		{[]string{"perms", "blog.change_post"}, "did you mean permission"},
		{[]string{"not", "staff"}, "can't be negated"},
		{[]string{"active"}, "not active are rejected anyway"},
		{[]string{"is_active"}, "not active are rejected anyway"},
		{[]string{"authenticated"}, "not active are rejected anyway"},
		{[]string{"login"}, "not active are rejected anyway"},
		{[]string{"valid-user"}, "not active are rejected anyway"},
		{[]string{"group", ""}, "a name is empty"},
		{[]string{"user", "alice", ""}, "a name is empty"},
		{[]string{"permission", "change_post"}, "app_label.codename"},
		{[]string{"permission", ".change_post"}, "app_label.codename"},
		{[]string{"permission", "blog."}, "app_label.codename"},
		{[]string{"permission", "blog.change_post", "x"}, "app_label.codename"},
	} {
		if _, err := require.Parse(test.words); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: %v, want an error that says %q", test.words, err, test.says)
		}
	}
	if err := (require.Requirements{{Staff: true}, {}}).Validate(); err == nil || !strings.Contains(err.Error(), "it is empty") {
		t.Errorf("an empty requirement: %v", err)
	}
	if err := (require.Requirements{{Staff: true}, {Users: []string{"alice"}}}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestRequirementsSayWhatMustBeRead asks each requirement, and all together.
func TestRequirementsSayWhatMustBeRead(t *testing.T) {
	t.Parallel()
	every := require.Requirements{
		{Groups: []string{"a"}}, {Permissions: []string{"b.c"}}, {Staff: true}, {Superuser: true}, {Users: []string{"d"}},
	}
	each := []userstore.Reads{{Groups: true}, {Permissions: true}, {Staff: true}, {Superuser: true}, {}}
	all := userstore.Reads{Groups: true, Permissions: true, Staff: true, Superuser: true}
	for i, r := range every {
		if got := r.Reads(); got != each[i] {
			t.Errorf("%s reads %+v, want %+v", r, got, each[i])
		}
		if got := (require.Requirements{r, r}).Reads(); got != each[i] {
			t.Errorf("%s twice reads %+v, want %+v", r, got, each[i])
		}
	}
	if got := every.Reads(); got != all {
		t.Errorf("all read %+v, want %+v", got, all)
	}
	for i, lacking := range []string{"groups", "permissions", "is_staff", "is_superuser"} {
		if got, ok := require.Covers(userstore.Reads{}, each[i]); ok || got != lacking {
			t.Errorf("without anything %q is lacking, %t; want %s", got, ok, lacking)
		}
		if got, ok := require.Covers(each[i], all); ok || got == lacking {
			t.Errorf("with %+v %q is lacking, %t", each[i], got, ok)
		}
		if got, ok := require.Covers(each[i], each[i]); !ok || got != "" {
			t.Errorf("with %+v %q is lacking, %t", each[i], got, ok)
		}
		if got, ok := require.Covers(all, each[i]); !ok || got != "" {
			t.Errorf("with all %q is lacking, %t", got, ok)
		}
	}
}
