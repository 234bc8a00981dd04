package identity

import (
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// groupsColumn is the name of the list of groups among the user's columns.
const groupsColumn = "groups"

// warnOfGroups logs that the header field lacks some groups of a user. A group's
// name with a comma would be read as two names, and one of them may be another
// group's.
func (id *Fields) warnOfGroups(user *userstore.User, logger *zap.Logger) {
	_, leftOut := user.GroupList()
	if leftOut == 0 {
		return
	}
	if !id.warnings.isDue(groupsColumn, user.PrimaryKey) {
		return
	}
	logger.Warn("groups left out of the list: a name with a comma, a control character, or a space at an end would be read as others",
		zap.Stringer("user", user.PrimaryKey), zap.Int("omitted", leftOut))
}

// setList sets a header field that has a list, or the fields of one name.
func (id *Fields) setList(r *http.Request, field *field, user *userstore.User, logger *zap.Logger) {
	values, leftOut := field.list.of(userList(user, field.column))
	if leftOut > 0 && id.warnings.isDue(field.name+" list", user.PrimaryKey) {
		logger.Warn("names left out of an identity header: the application would read them as others",
			zap.String("header", field.name), zap.Stringer("user", user.PrimaryKey), zap.Int("omitted", leftOut))
	}
	size := 0
	for _, value := range values {
		size += len(value)
	}
	switch {
	case size > field.maxSize:
		id.warnOfSize(field, size, user, logger)
	case len(values) > 0:
		r.Header[field.name] = values
	}
}
