// What `make lint` asks of the page's scripts beyond their types.

import js from "@eslint/js";
import globals from "globals";

export default [
	js.configs.recommended,
	{
		languageOptions: { ecmaVersion: 2025, sourceType: "module", globals: globals.browser },
		linterOptions: { reportUnusedDisableDirectives: "error" },
		rules: {
			eqeqeq: "error",
			"no-control-regex": "off", // file names are cleaned of control characters
			"no-implicit-globals": "error",
			"no-shadow": "error",
			"no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
			"no-var": "error",
			"prefer-const": "error",
		},
	},
	{ files: ["**/theme.js"], languageOptions: { sourceType: "script" } },
	{ files: ["**/*.test.js"], languageOptions: { globals: globals.node } },
];
