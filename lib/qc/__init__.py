"""Quality control: tables (`metrics`), figures (`plots`, `images`, `preview`) and HTML (`html`)."""
