// Following the link changes nothing; this does what pressing the button would.
document.forms[0].submit();
