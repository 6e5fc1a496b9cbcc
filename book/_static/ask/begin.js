// The last script of the page: all parts are registered, so the page can begin.
AskTheData.use("page");
