# The browser tool: a listed scheme. Where a URL may lead, the fetcher says, at every hop.
package actions.browser

default decision := {"allow": false, "reason": "scheme_not_listed"}

decision := {"allow": true, "reason": "listed"} if input.scheme in data.rules.browser.schemes
