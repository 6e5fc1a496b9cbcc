// The last script of the page: all parts are registered, so the page can begin.
TrainHere.use("page");
