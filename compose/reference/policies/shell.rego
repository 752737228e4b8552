# The shell tool: a listed program, called in a listed form.
package actions.shell

# `use` says what the arguments are: taken as they are, or one file or folder that the
# executor opens itself.
decision := {"allow": true, "reason": "listed", "use": uses[0]} if count(uses) > 0

decision := {"allow": false, "reason": "program_not_listed"} if count(forms) == 0

decision := {"allow": false, "reason": "arguments_not_listed"} if {
	count(forms) > 0
	count(uses) == 0
}

arguments := array.slice(input.argv, 1, count(input.argv))

forms := [form |
	some command in data.rules.shell.commands
	command.program == input.argv[0]
	some form in command.forms
]

uses := [use |
	some form in forms
	use := use_of(form)
]

use_of(form) := "arguments" if form.exactly == arguments

# Two classes in a row: no pattern that could take long, whatever the argument (regopy's
# engine goes back and tries again).
use_of(form) := "arguments" if {
	pattern := sprintf("^[%s][%s]*$", [form.each.first, form.each["then"]])
	count(arguments) <= form.at_most
	every argument in arguments {
		count(argument) <= form.each.longest
		regex.match(pattern, argument)
	}
}

use_of(form) := "file" if {
	form.file == true
	count(arguments) == 1
}

use_of(form) := "folder" if {
	form.folder == true
	count(arguments) == 1
}
