package sesame_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestInteropRights gives users rights by Django's own API, and asks Django and
// the store for each what they may do.
func TestInteropRights(t *testing.T) {
	db := interopDatabase(t)
	i := startInterop(t, db, interopVariant{store: "groups\npermissions\nis_staff", settings: token.Settings{Encoding: token.LongPacker}})
	store, err := userstore.Open(t.Context(), userstore.Config{
		DSN: db.dsn, QueryTimeout: caddy.Duration(20 * time.Second), Columns: userstore.Columns{IsStaff: "is_staff"},
		Groups: new(userstore.GroupsConfig), Permissions: new(userstore.PermissionsConfig),
	}, userstore.Needs{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	names := []string{
		"auth.add_user", "auth.change_group", "auth.view_permission", "contenttypes.delete_contenttype",
		"auth.no_such", "nowhere.add_user", "auth.ADD_USER", "auth", "", "auth.add_user.", "add_user",
	}
	type groups map[string][]string
	for n, test := range []struct {
		groups               groups
		permissions          []string
		staff, super, active bool
	}{
		{nil, nil, false, false, true},
		{groups{"editors": nil}, nil, true, false, true},
		{nil, []string{"auth.add_user"}, false, false, true},
		{groups{"editors": {"auth.change_group", "auth.view_permission"}}, nil, false, false, true},
		{groups{"editors": {"auth.add_user"}, "Ünïcode, ☃": {"contenttypes.delete_contenttype"}, "a'b\"c": nil}, []string{"auth.add_user", "auth.view_permission"}, false, false, true},
		{nil, nil, false, true, true},
		{groups{"editors": {"auth.add_user"}}, []string{"auth.view_permission"}, true, true, true},
		{groups{"editors": {"auth.add_user"}}, []string{"auth.view_permission"}, true, true, false},
		{groups{"editors": {"auth.add_user"}}, []string{"auth.view_permission"}, false, false, false},
	} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			name := i.createUser(t, "default")
			if test.groups == nil {
				test.groups = groups{}
			}
			if test.permissions == nil {
				test.permissions = []string{}
			}
			i.django.call(t, "permit", "username", name, "groups", test.groups, "permissions", test.permissions,
				"is_staff", test.staff, "is_superuser", test.super, "is_active", test.active)
			django := i.django.call(t, "rights", "username", name, "permissions", names)

			found, err := store.FindMany(t.Context(), userstore.Username, []string{name})
			if err != nil || len(found[name]) != 1 {
				t.Fatalf("%v, %v", found, err)
			}
			user := found[name][0]
			var inDjango []string
			for _, group := range django["groups"].([]any) {
				inDjango = append(inDjango, group.(string))
			}
			slices.Sort(inDjango)
			if !slices.Equal(user.Groups(), inDjango) || len(inDjango) != len(test.groups) {
				t.Errorf("groups %q, in Django %q", user.Groups(), inDjango)
			}
			for permission, has := range django["permissions"].(map[string]any) {
				if got := user.HasPermission(permission); got != has {
					t.Errorf("permission %q: %t, in Django %v", permission, got, has)
				}
			}
			if user.IsStaff != django["is_staff"] || user.IsSuperuser != django["is_superuser"] {
				t.Errorf("staff %t, superuser %t, in Django %v, %v", user.IsStaff, user.IsSuperuser, django["is_staff"], django["is_superuser"])
			}
		})
	}
}
