javascript:void(open('https://go.example.com/dashboard/shorten?url='+encodeURIComponent(location.href)))
