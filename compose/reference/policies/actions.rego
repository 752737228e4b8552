# Which actions the executor runs (G3b). It asks for `decision`, with the input
#   {"caller", "tool", and what the tool is asked: "argv" | "operation" | "scheme"}.
# It denies whatever is undefined, fails, or has another form than
#   {"allow": true or false, "reason": "a_word", "use": "..."}.
package actions

default decision := {"allow": false, "reason": "tool_not_listed"}

decision := data.actions.shell.decision if {
	input.tool == "shell"
	data.rules.shell
}

decision := data.actions.file.decision if {
	input.tool == "file"
	data.rules.file
}

decision := data.actions.browser.decision if {
	input.tool == "browser"
	data.rules.browser
}
