# The file tool: a listed operation. Where its paths may lead, the sandbox says.
package actions.file

default decision := {"allow": false, "reason": "operation_not_listed"}

decision := {"allow": true, "reason": "listed"} if input.operation in data.rules.file.operations
