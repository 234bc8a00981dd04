package page

// RepostForm is a form that sends again what the browser has sent before, to Action.
type RepostForm struct {
	Encoding string // of the form
	Fields   []Field
}

// Field is a field of a form that is sent again.
type Field struct {
	Name  string `json:"n"`
	Value string `json:"v,omitempty"`

	// IsFile: the user has to choose the file Filename again. It is empty if no file
	// was chosen.
	IsFile   bool   `json:"f,omitempty"`
	Filename string `json:"c,omitempty"`
}

// repostForm is a RepostForm as a template uses it.
type repostForm struct {
	Encoding string
	Fields   []repostField
}

type repostField struct {
	Field
	Label string // of a file that has to be chosen again
}

// repost fills in the texts of a form that is sent again.
func (w *words) repost(form *RepostForm) *repostForm {
	if form == nil {
		return nil
	}
	shown := &repostForm{Encoding: form.Encoding}
	for _, field := range form.Fields {
		label := ""
		if field.Filename != "" {
			label = fill(w.text("repost.file"), []string{"file", field.Filename})
		}
		shown.Fields = append(shown.Fields, repostField{field, label})
	}
	return shown
}
